"""How many synthetic rows each class gets, and their order: every stretch of rows has its share of each class."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dsray.errors import RecipeError

Places = NDArray[np.int64]


def counts(family: str, wanted: Mapping[str, int], classes: Sequence[str]) -> list[int]:
    """Rows of each class, as a recipe's `classes` ask for them. Raises RecipeError for a label that no row has."""
    for label in sorted(wanted.keys() - set(classes)):
        known = f"Known: {', '.join(classes)}." if classes else "No row has a label."
        raise RecipeError(f"synthesize.{family}.classes: there is no label '{label}'.", known)
    return [wanted.get(label, 0) for label in classes]


def order(counts_K: Sequence[int]) -> Places:
    """The class of each row [sum]: each is spread evenly over all rows; classes of one size take turns."""
    class_N = np.repeat(np.arange(len(counts_K)), counts_K)
    share_N = np.concatenate([np.zeros(0), *((np.arange(count) + 0.5) / count for count in counts_K if count)])
    return class_N[np.argsort(share_N, kind="stable")]
