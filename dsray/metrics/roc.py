"""How well a score tells two sets apart, over all thresholds."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating[Any]]


def auc(positive_N: Scores, negative_M: Scores) -> float:
    """The chance that a positive scores above a negative, ties counting half (Mann and Whitney 1947), in [0, 1]."""
    negative_M = np.sort(negative_M)
    below = np.searchsorted(negative_M, positive_N, "left").sum()
    not_above = np.searchsorted(negative_M, positive_N, "right").sum()
    return float((below + not_above) / (2 * len(positive_N) * len(negative_M)))
