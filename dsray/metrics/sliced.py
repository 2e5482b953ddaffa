"""Sliced Wasserstein distance: sets compared along many random directions, where transport is but sorting.

It sees more than two moments and needs no covariance, so a thousand rows of many features do.
"""

from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from dsray import rng
from dsray.metrics.subset import same_size

Features = NDArray[np.floating[Any]]

DIRECTIONS = 512

_CHUNK = 64  # directions at a time


class Sliced(TypedDict):
    distance: float  # synthetic against real rows
    floor: float  # other real rows against real ones, as many: the distance is biased in n
    ratio: float  # distance / floor
    directions: int
    n: int  # rows on either side
    extractor: str


def sliced(
    real: Features, other: Features, synthetic: Features, extractor: str, seed: int = 0, directions: int = DIRECTIONS
) -> Sliced:
    """The distance of synthetic rows [N, D], and of other real rows, from real ones. Raises DsrayError below 2 rows."""
    real, other, synthetic = same_size(real, other, synthetic, seed)
    distance, floor = (sliced_wasserstein2(real, rows, seed, directions) for rows in (synthetic, other))
    return Sliced(
        distance=distance,
        floor=floor,
        ratio=distance / max(floor, 1e-12),
        directions=directions,
        n=len(real),
        extractor=extractor,
    )


def sliced_wasserstein2(x_ND: Features, y_MD: Features, seed: int = 0, directions: int = DIRECTIONS) -> float:
    """D · mean over θ of W₂²(θ·x, θ·y) (Rabin et al. 2011; Bonneel et al. 2015), exact along each direction.

    Times D, so that its scale is that of the Fréchet distance: sets that differ by a shift δ are |δ|² apart.
    """
    d = x_ND.shape[1]
    row_x, row_y, weight = _transport(len(x_ND), len(y_MD))
    centre_D = x_ND.mean(0, dtype=np.float64)
    x, y = (rows - centre_D for rows in (x_ND, y_MD))  # what is common costs digits
    total = 0.0
    for start in range(0, directions, _CHUNK):
        theta_PD = _directions(start, min(start + _CHUNK, directions), d, seed)
        sorted_x, sorted_y = (np.sort(theta_PD @ rows.T, axis=1) for rows in (x, y))
        total += float((np.square(sorted_x[:, row_x] - sorted_y[:, row_y]) @ weight).sum())
    return float(d * total / directions)


def _directions(start: int, stop: int, d: int, seed: int) -> NDArray[np.float64]:
    """Points on the unit sphere [P, D]; the i-th is the same whatever is drawn beside it."""
    theta_PD = rng.normal(seed, "sliced", np.arange(start, stop, dtype=np.uint64), draws=d)
    return np.asarray(theta_PD / np.linalg.norm(theta_PD, axis=1, keepdims=True))


def _transport(n: int, m: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """The best plan between n and m sorted numbers: (places in the one, places in the other, mass)."""
    cuts = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)  # in units of 1 / nm
    return (cuts - 1) // m, (cuts - 1) // n, np.diff(cuts, prepend=0) / (n * m)
