"""Cells of a space: the rows nearest to each of a few centres (Lloyd 1982, from a k-means++ start)."""

import numpy as np
from numpy.typing import NDArray

from dsray import rng
from dsray.metrics.neighbours import nearest

Features = NDArray[np.float32]

_STEPS = 20
_MOST_ROWS = 10_000  # that centres are fitted to


def centres(rows_NF: Features, count: int, seed: int) -> Features:
    """[K, F]: K means of the rows, fewer when there are fewer different rows."""
    some_NF = rows_NF[rng.permutation(seed, "cells", len(rows_NF))[:_MOST_ROWS]]
    found_KF = _spread(some_NF, count, seed)
    for _ in range(_STEPS):
        cell_N = cell_of(some_NF, found_KF)
        own_NK = np.eye(len(found_KF))[cell_N]
        sizes_K, sums_KF = own_NK.sum(0), own_NK.T @ some_NF
        moved_KF = np.where(sizes_K[:, None], sums_KF / np.maximum(sizes_K, 1)[:, None], found_KF).astype(np.float32)
        if np.array_equal(moved_KF, found_KF):
            break
        found_KF = moved_KF
    return found_KF


def cell_of(rows_NF: Features, centres_KF: Features) -> NDArray[np.int64]:
    """The nearest centre's place of each row [N]."""
    return nearest(rows_NF, centres_KF, 1)[1][:, 0]


def _spread(rows_NF: Features, count: int, seed: int) -> Features:
    """k-means++ (Arthur and Vassilvitskii 2007): the next is drawn by its squared distance to those before."""
    draw_K = rng.uniform(seed, "cells start", np.zeros(1, np.uint64), draws=count)[0]
    chosen = [int(draw_K[0] * len(rows_NF))]
    near_N = np.full(len(rows_NF), np.inf)
    for draw in draw_K[1:]:
        near_N = np.minimum(near_N, np.square((rows_NF - rows_NF[chosen[-1]]).astype(np.float64)).sum(1))
        if not near_N.any():
            break
        chance_N = np.cumsum(near_N)
        chosen.append(min(int(np.searchsorted(chance_N, draw * chance_N[-1], side="right")), len(rows_NF) - 1))
    return rows_NF[chosen]
