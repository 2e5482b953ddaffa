"""Precision, recall, density, coverage: is what was made real, and is what is real made?

Each row owns the ball that reaches its k-th neighbour in its own set; the scores ask what lies in whose ball.
"""

from collections.abc import Iterator
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from dsray.metrics.subset import same_size

Features = NDArray[np.floating[Any]]
Floats = NDArray[np.float64]

K = 5

_CHUNK = 512  # rows compared with all others at a time: 20 MB for 10,000
_SPARE = 8  # candidates beyond the k-th neighbour
_PAIRS = 2048  # pairs that are measured exactly at a time


class Balls(TypedDict):
    precision: float  # share of synthetic rows in the ball of some real row (Kynkäänniemi 2019, arXiv:1904.06991)
    recall: float  # share of real rows in the ball of some synthetic row
    density: float  # real balls around a synthetic row, over k; 1 is ideal, may be more (Naeem 2020, arXiv:2002.09797)
    coverage: float  # share of real balls with a synthetic row inside


class Prdc(Balls):
    floor: Balls  # of other real rows against real ones: what a perfect model would get
    k: int
    n: int  # rows on either side
    extractor: str


def prdc(real: Features, other: Features, synthetic: Features, extractor: str, k: int = K, seed: int = 0) -> Prdc:
    """The four scores of synthetic rows [N, D] against real ones, next to those of other real rows.

    Raises DsrayError where a set has no more than k rows.
    """
    real, other, synthetic = same_size(real, other, synthetic, seed, least=k + 1)
    radius = radii2(real, k)
    scores, floor = (_scores(real, rows, radius, k) for rows in (synthetic, other))
    return Prdc(**scores, floor=floor, k=k, n=len(real), extractor=extractor)


def balls(real: Features, synthetic: Features, k: int = K) -> Balls:
    """The four scores of all rows; either set has more than k."""
    return _scores(real, synthetic, radii2(real, k), k)


def radii2(rows_ND: Features, k: int) -> Floats:
    """Squared distance to the k-th nearest other row [N], exact."""
    found = np.empty(len(rows_ND))
    for start, apart, error in _squares(rows_ND, rows_ND):
        here = np.arange(len(apart))
        apart[here, start + here] = np.inf
        count = min(k + _SPARE, len(rows_ND) - 1)
        near = np.argpartition(apart, count - 1, axis=1)[:, :count]
        part = rows_ND[start : start + len(apart)]
        exact = np.stack([_exact(part, rows_ND[near[:, j]]) for j in range(count)], axis=1)
        kth = np.sort(exact, axis=1)[:, k - 1]
        farthest = apart[here[:, None], near].max(1)
        for row in np.flatnonzero((farthest - error < kth) & (kth > 0) & (count < len(rows_ND) - 1)):
            every = _exact(part[row], rows_ND)
            every[start + row] = np.inf
            kth[row] = np.partition(every, k - 1)[k - 1]
        found[start : start + len(apart)] = kth
    return found


def _scores(real: Features, made: Features, radius_real: Floats, k: int) -> Balls:
    radius_made = radii2(made, k)
    precise, dense = 0, 0
    covered, recalled = np.zeros(len(real), bool), np.zeros(len(real), bool)
    for start, apart, error in _squares(made, real):
        part = made[start : start + len(apart)]
        in_real = _inside(apart, radius_real[None, :], error, part, real)
        in_made = _inside(apart, radius_made[start : start + len(apart), None], error, part, real)
        precise += int(in_real.any(1).sum())
        dense += int(in_real.sum())
        covered |= in_real.any(0)
        recalled |= in_made.any(0)
    return Balls(
        precision=precise / len(made),
        recall=float(recalled.mean()),
        density=dense / (k * len(made)),
        coverage=float(covered.mean()),
    )


def _squares(x_ND: Features, y_MD: Features) -> Iterator[tuple[int, NDArray[np.float32], float]]:
    """(first row, squared distances [chunk, M] by one float32 product, a limit of their error), chunk by chunk."""
    centre_D = y_MD.mean(0, dtype=np.float64)  # distances don't change, rounding errors do
    y = (y_MD - centre_D).astype(np.float32)
    norm_M = np.square(y).sum(1)
    scale = float(np.finfo(np.float32).eps) * (8 + 2 * y.shape[1] ** 0.5)
    for start in range(0, len(x_ND), _CHUNK):
        x = (x_ND[start : start + _CHUNK] - centre_D).astype(np.float32)
        norm_C = np.square(x).sum(1)
        apart = x @ y.T
        apart *= -2
        apart += norm_C[:, None]
        apart += norm_M
        yield start, apart, scale * float(norm_C.max() + norm_M.max())


def _inside(
    apart: NDArray[np.float32], radius: Floats, error: float, x_CD: Features, y_MD: Features
) -> NDArray[np.bool_]:
    """Whether each squared distance is within the squared radius: measured anew where rounding could decide."""
    inside = apart <= radius
    row, column = np.nonzero(np.abs(apart - radius.astype(np.float32)) <= error)
    limit = np.broadcast_to(radius, apart.shape)
    for start in range(0, len(row), _PAIRS):
        i, j = row[start : start + _PAIRS], column[start : start + _PAIRS]
        inside[i, j] = _exact(x_CD[i], y_MD[j]) <= limit[i, j]
    return inside


def _exact(x: Features, y: Features) -> Floats:
    return np.asarray(np.square(np.subtract(x, y, dtype=np.float64)).sum(-1))
