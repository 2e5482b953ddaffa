"""Planted copies: the positive control of every alarm about memorisation. An alarm that misses them says nothing."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsray import rng

SHARES = (0.05, 0.2)
"""What must be found when so much of the synthetic rows is copied."""

NOISE = 0.03  # on planted rows, as a share of the range of the values


def planted(train_MF: NDArray[np.float32], count: int, seed: int) -> NDArray[np.float32]:
    """Training rows [count, F] with a little noise: what a model that memorises would make."""
    count = min(count, len(train_MF))
    rows = rng.permutation(seed, "planted copies", len(train_MF))[:count]
    noise = rng.normal(seed, "planted noise", rows.astype(np.uint64), draws=train_MF.shape[1])
    return (train_MF[rows] + NOISE * float(np.ptp(train_MF)) * noise).astype(np.float32)


def replaced(rows_N: NDArray[Any], copies_P: NDArray[Any], share: float, seed: int) -> NDArray[Any]:
    """The rows (or what was computed of each) with `share` of them, at random places, replaced by copies."""
    mixed_N = rows_N.copy()
    copies_P = copies_P[: needed(len(rows_N), share)]
    mixed_N[rng.permutation(seed, "planted places", len(rows_N))[: len(copies_P)]] = copies_P
    return mixed_N


def needed(rows: int, share: float) -> int:
    """How many copies are `share` of so many rows; at least one."""
    return max(1, round(share * rows))
