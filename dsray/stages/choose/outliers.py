"""How far a row is from the others: robust z-scores of a signal, and distance in the space of a kind's features.

Axes: N rows, D features. Whatever enters these numbers is sorted or summed as integers first, so neither shards nor
their order change a bit.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

_NORMAL = 1.4826  # of a normal variable: deviation over median distance from the median
_MEAN = 1.2533  # and over mean distance, for values of which half are the same (Iglewicz and Hoaglin 1993)
_FINE, _COARSE = 30, 8  # binary places of the whitening matrix, and of what it makes: sums stay below 2^53
_ROUNDING = 1 / 12  # variance that rounding to integers has added to each feature already


@dataclass(frozen=True)
class Scale:
    """Where the values of a signal lie. With `floor`, logarithms are compared, and less than it counts as it."""

    centre: float
    spread: float
    floor: float | None = None

    def z(self, value_N: F64) -> F64:
        """[N] values → distances from the centre, in spreads, signed; 0 where all values are one."""
        if self.floor is not None:
            value_N = np.log(np.maximum(value_N, self.floor))
        return (value_N - self.centre) / self.spread if self.spread else np.zeros_like(value_N)


def scale(value_N: F64, logarithmic: bool | None = None) -> Scale:
    """Median and 1.4826 of the median distance from it (MAD); mean distances where the MAD is 0.

    On a logarithmic scale where at least three quarters of the values are positive and the quartiles lean to the right
    (sizes, areas, variances); else a long tail alone would make outliers.
    """
    value_N = np.sort(value_N[np.isfinite(value_N)])
    if not len(value_N):
        return Scale(0.0, 0.0)
    low, middle, high = np.quantile(value_N, [0.25, 0.5, 0.75])
    floor = None
    if logarithmic if logarithmic is not None else (low > 0 and high - middle > middle - low):
        floor = float(value_N[np.searchsorted(value_N, 0, side="right")])
        value_N = np.log(np.maximum(value_N, floor))
    centre = float(np.median(value_N))
    away_N = np.sort(np.abs(value_N - centre))
    return Scale(centre, _NORMAL * float(np.median(away_N)) or _MEAN * float(away_N.mean()), floor)


@dataclass(frozen=True, eq=False)
class Space:
    """Features made uncorrelated and of variance 1, in fixed point: [D, D] and [D] integers in units of 2^-30."""

    matrix_DD: I64
    offset_D: I64

    def distances(self, features_ND: NDArray[np.uint8]) -> F64:
        """[N, D] features → [N] Mahalanobis distances from the mean; the same bits in any batch."""
        white_ND = features_ND.astype(np.float64) @ self.matrix_DD.T.astype(np.float64) - self.offset_D
        coarse_ND = np.rint(white_ND / 2 ** (_FINE - _COARSE))
        distance_N: F64 = np.sqrt((coarse_ND**2).sum(axis=1)) / 2**_COARSE
        return distance_N


def moments(features_ND: NDArray[np.uint8]) -> tuple[int, I64, I64]:
    """Rows, [D] sums, [D, D] sums of products: exact, so those of parts add up to those of the whole."""
    wide_ND = features_ND.astype(np.float64)  # products below 2^16: exact in 2^37 rows
    return len(wide_ND), wide_ND.sum(axis=0).astype(np.int64), (wide_ND.T @ wide_ND).astype(np.int64)


def space(rows: int, sum_D: I64, product_DD: I64) -> Space:
    """From moments: the covariance, shrunk towards a sphere by as much as few rows ask for (OAS, Chen et al. 2010), and
    never below what rounding to integers leaves unknown."""
    exact_DD = rows * product_DD.astype(object) - np.outer(sum_D.astype(object), sum_D.astype(object))
    cov_DD = (exact_DD / rows**2).astype(np.float64)
    size = len(sum_D)
    cov_DD = shrunk(cov_DD, rows) + _ROUNDING * np.eye(size)
    white_DD = np.linalg.inv(np.linalg.cholesky(cov_DD))
    matrix_DD = np.rint(white_DD * 2.0**_FINE).astype(np.int64)
    return Space(matrix_DD, np.rint(matrix_DD.astype(np.float64) @ (sum_D / rows)).astype(np.int64))


def shrunk(cov_DD: F64, rows: int) -> F64:
    """(1 - a)·S + a·(tr S / D)·I with the a of the oracle approximating shrinkage (Chen et al. 2010, eq. 23)."""
    size = len(cov_DD)
    variance, square = float(np.trace(cov_DD)) / size, float((cov_DD**2).mean())
    over = (rows + 1) * (square - variance**2 / size)
    a = 1.0 if over <= 0 else min(1.0, (square + variance**2) / over)
    return (1 - a) * cov_DD + a * variance * np.eye(size)


def matrix(column: Any) -> NDArray[np.uint8]:
    """A column of lists of one length, none null, as [N, D]."""
    flat = column.combine_chunks()
    values = np.asarray(flat.flatten().to_numpy(zero_copy_only=False), np.uint8)
    return values.reshape(len(flat), -1) if len(flat) else values.reshape(0, 0)
