"""Nearest rows by Euclidean distance, a chunk at a time: what copies, memorisation and membership build on.

A matrix product finds the candidates, differences give their distances: no cancellation where two rows are one.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[Any]
"""[N, ...] numbers of one kind: pixels or features; distances are Euclidean over all but the first axis."""

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

_CHUNK = 512


def flat(rows: Rows) -> NDArray[np.float32]:
    """[N, ...] → [N, F]."""
    return rows.reshape(len(rows), -1).astype(np.float32)


def nearest(
    rows_NF: NDArray[np.float32], others_MF: NDArray[np.float32], k: int, *, itself: bool = False
) -> tuple[Floats, Places]:
    """Distances and places [N, k] of the k nearest of the others, nearest first; ∞ and -1 where there are fewer.

    With `itself` the two are one set and a row is no neighbour of its own.
    """
    found_K, found_P = np.full((len(rows_NF), k), np.inf), np.full((len(rows_NF), k), -1, np.int64)
    least = min(k, len(others_MF) - itself)
    if least < 1 or not len(rows_NF):
        return found_K, found_P
    centre_F = others_MF.mean(0)  # the order of distances doesn't change, rounding errors do
    centred_MF = others_MF - centre_F
    norm_M = np.square(centred_MF).sum(1)
    for start in range(0, len(rows_NF), _CHUNK):
        part_BF = rows_NF[start : start + _CHUNK]
        apart_BM = norm_M - 2 * ((part_BF - centre_F) @ centred_MF.T)
        here_B = np.arange(len(part_BF))
        if itself:
            apart_BM[here_B, start + here_B] = np.inf
        place_BK = np.argpartition(apart_BM, least - 1, axis=1)[:, :least]
        away_BK = np.sqrt(np.square((part_BF[:, None] - others_MF[place_BK]).astype(np.float64)).sum(2))
        order_BK = np.argsort(away_BK, axis=1, kind="stable")
        found_K[start : start + _CHUNK, :least] = np.take_along_axis(away_BK, order_BK, 1)
        found_P[start : start + _CHUNK, :least] = np.take_along_axis(place_BK, order_BK, 1)
    return found_K, found_P
