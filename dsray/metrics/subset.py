"""As many rows of each set: scores that are biased in n can be compared only at the same n."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsray import rng
from dsray.errors import DsrayError


def subset(count: int, n: int, seed: int, stage: str) -> NDArray[np.int64]:
    """n different places among `count`, at random and in order: rows often come in an order that matters."""
    return np.sort(rng.permutation(seed, stage, count)[:n])


def same_size(real: Any, other: Any, synthetic: Any, seed: int, least: int = 2) -> tuple[Any, Any, Any]:
    """(real, other, synthetic) cut to the size of the smallest, along the first axis.

    `real` is what is compared with, `other` are real rows for the floor, disjoint from these.
    Raises DsrayError where fewer than `least` rows would be left.
    """
    n = min(len(real), len(other), len(synthetic))
    if n < least:
        raise DsrayError(
            f"Too few rows for a score: {len(real)} and {len(other)} real, {len(synthetic)} synthetic; "
            f"{least} of each are needed.",
            "Collect more, or give `select.split` a larger test.",
        )
    sets = {"real": real, "other": other, "synthetic": synthetic}
    real, other, synthetic = (rows[subset(len(rows), n, seed, f"score {name}")] for name, rows in sets.items())
    return real, other, synthetic
