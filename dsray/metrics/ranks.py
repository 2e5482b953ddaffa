"""Two samples of numbers, compared by rank alone: who is larger, how sure that is, and what the lowest tail says.

Axes: M numbers of the one sample, N of the other. Nothing here supposes a distribution.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def mid_ranks(x_N: Floats) -> Floats:
    """Ranks from 1; equal numbers share the mean of theirs."""
    _, place_N, count_K = np.unique(x_N, return_inverse=True, return_counts=True)
    last_K = np.cumsum(count_K)
    return np.asarray((last_K - (count_K - 1) / 2)[place_N])


def mann_whitney(a_M: Floats, b_N: Floats) -> tuple[float, float]:
    """(U / MN, z): the share of pairs with a > b, ties as half, and its z under exchangeability, corrected for ties.

    Negative z: `a` tends to be smaller (Mann and Whitney 1947). z is 0 when all numbers are one.
    """
    m, n = len(a_M), len(b_N)
    both = np.concatenate([a_M, b_N])
    u = mid_ranks(both)[:m].sum() - m * (m + 1) / 2
    ties = np.unique(both, return_counts=True)[1].astype(float)
    variance = m * n / 12 * (m + n + 1 - (ties**3 - ties).sum() / ((m + n) * (m + n - 1)))
    return float(u / (m * n)), float((u - m * n / 2) / math.sqrt(variance)) if variance > 0 else 0.0


def delong(a_M: Floats, b_N: Floats) -> tuple[float, float]:
    """(AUC, standard error): the chance that a > b and its error (DeLong, DeLong and Clarke-Pearson 1988).

    By mid-ranks in O(n log n) (Sun and Xu 2014). The error is nan when a side has fewer than two numbers.
    """
    m, n = len(a_M), len(b_N)
    both = mid_ranks(np.concatenate([a_M, b_N]))
    over_M = (both[:m] - mid_ranks(a_M)) / n
    under_N = 1 - (both[m:] - mid_ranks(b_N)) / m
    if min(m, n) < 2:
        return float(over_M.mean()), math.nan
    return float(over_M.mean()), math.sqrt(over_M.var(ddof=1) / m + under_N.var(ddof=1) / n)


def precedence(a_M: Floats, b_N: Floats, share: float) -> tuple[float, float]:
    """(share of `a` below a threshold, p): the threshold is the `share` quantile of `b`, its j-th smallest number.

    p is the chance of so many, or more, of `a` below it if all were exchangeable; exact whatever the distribution
    (Epstein 1954; Nelson 1963): of the numbers up to the j-th of `b` the count of `a` is negative hypergeometric.
    """
    m, n = len(a_M), len(b_N)
    j = max(1, math.ceil(share * n))
    below = int((a_M < np.partition(b_N, j - 1)[j - 1]).sum())
    log_p_K = [_log_choose(k + j - 1, k) + _log_choose(m - k + n - j, m - k) for k in range(below)]
    total = _log_choose(m + n, m)
    return below / m, max(0.0, 1.0 - sum(math.exp(p - total) for p in log_p_K)) if below else 1.0


def _log_choose(n: int, k: int) -> Any:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
