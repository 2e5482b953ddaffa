"""Kernel distance (KID): the squared maximum mean discrepancy of two sets of features, without bias in n."""

from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from dsray.metrics.subset import same_size, subset

Features = NDArray[np.floating[Any]]

SUBSETS = 100
SIZE = 1000


class Kid(TypedDict):
    kid: float  # mean over the subsets; about 0 for equal distributions, and as often below as above
    std: float  # over the subsets, as papers print it: the error of one subset, an upper limit of the mean's
    floor: float  # of real rows against as many other real rows
    floor_std: float
    subsets: int
    subset_size: int
    n: int  # rows on either side
    extractor: str


def kid(
    real: Features, other: Features, synthetic: Features, extractor: str, seed: int = 0, subsets: int = SUBSETS
) -> Kid:
    """KID of synthetic rows [N, D], and of other real rows, against real ones (Bińkowski 2018, arXiv:1801.01401).

    Subsets have 1,000 rows, or half of them where there are fewer: of all rows there is but one subset.
    Raises DsrayError below 4 rows of each.
    """
    real, other, synthetic = same_size(real, other, synthetic, seed, least=4)
    n = len(real)
    size = min(SIZE, n // 2)
    found = np.empty((subsets, 2))
    for epoch in range(subsets):
        x, y, z = (
            rows[subset(n, size, seed, f"kid {name} {epoch}")]
            for name, rows in (("real", real), ("synthetic", synthetic), ("other", other))
        )
        within_x = _within(x)
        found[epoch] = [within_x + _within(rows) - 2 * _across(x, rows) for rows in (y, z)]
    (mean, floor), (std, floor_std) = found.mean(0), found.std(0)
    return Kid(
        kid=float(mean),
        std=float(std),
        floor=float(floor),
        floor_std=float(floor_std),
        subsets=subsets,
        subset_size=size,
        n=n,
        extractor=extractor,
    )


def mmd2(x_ND: Features, y_MD: Features) -> float:
    """Unbiased estimate of MMD² with the kernel (x·y/D + 1)³ (Gretton et al. 2012, eq. 3): may be below 0."""
    return _within(x_ND) + _within(y_MD) - 2 * _across(x_ND, y_MD)


def _kernel(x_ND: Features, y_MD: Features) -> Features:
    """Products are as exact as the features: float32 stays float32, which is half the time."""
    k_NM = x_ND @ y_MD.T / x_ND.shape[1] + 1
    return np.asarray(k_NM * k_NM * k_NM)


def _within(x_ND: Features) -> float:
    """Mean of the kernel over pairs of different rows."""
    n = len(x_ND)
    k_NN = _kernel(x_ND, x_ND)
    return float(k_NN.sum(dtype=np.float64) - np.trace(k_NN, dtype=np.float64)) / (n * (n - 1))


def _across(x_ND: Features, y_MD: Features) -> float:
    return float(_kernel(x_ND, y_MD).mean(dtype=np.float64))
