"""What a Gaussian mechanism costs: (ε, δ) from its noise and back, exactly (Balle and Wang, arXiv:1805.06530).

σ is in units of the sensitivity: the most that one row, added or removed, can change what is released (L2 norm).
Several Gaussian mechanisms on the same rows cost as much as one with 1/σ² = Σ 1/σᵢ², also when each is chosen after
seeing those before (Dong, Roth and Su, arXiv:1905.02383, corollary 3.3). No sampling, no bounds: nothing is lost.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import SupportsFloat, TypedDict

from dsray.errors import RecipeError

ACCOUNTANTS = {
    "merf": "one Gaussian mechanism, exact (Balle and Wang 2018)",
    "dpgan": "subsampled Gaussian steps, PRV accountant of Opacus (Gopi et al. 2021)",
}
"""How each private architecture counts what it spends."""


class Spent(TypedDict):
    epsilon: float
    delta: float
    sigma: float  # of the noise, in units of the sensitivity (of one step, where there are many)


def spent(weights: Mapping[str, SupportsFloat]) -> Spent | None:
    """What a model's weights say was spent on them; None for a model that promises nothing."""
    if "private.epsilon" not in weights:
        return None
    epsilon, delta, sigma = (float(weights[f"private.{name}"]) for name in ("epsilon", "delta", "sigma"))
    return Spent(epsilon=epsilon, delta=delta, sigma=sigma)


def delta_of(sigma: float, epsilon: float) -> float:
    """The least δ for which noise σ is (ε, δ)-private: Φ(1/2σ - εσ) - e^ε Φ(-1/2σ - εσ)."""
    near, far = 0.5 / sigma - epsilon * sigma, -0.5 / sigma - epsilon * sigma
    return max(0.0, math.exp(_log_normal(near)) - math.exp(min(epsilon + _log_normal(far), 0.0)))


def epsilon_of(sigma: float, delta: float) -> float:
    """The least ε ≥ 0 for which noise σ is (ε, δ)-private."""
    if delta_of(sigma, 0.0) <= delta:
        return 0.0
    high = 1.0
    while delta_of(sigma, high) > delta:
        high *= 2
    return _bisect(lambda epsilon: delta_of(sigma, epsilon) <= delta, 0.0, high)


def sigma_of(epsilon: float, delta: float) -> float:
    """The least noise that is (ε, δ)-private. Raises RecipeError unless ε > 0 and 0 < δ < 1."""
    if not (epsilon > 0 and 0 < delta < 1 and math.isfinite(epsilon)):
        raise RecipeError(
            f"There is no privacy with epsilon {epsilon} and delta {delta}.",
            "Give epsilon > 0, usually 1 to 10, and delta below 1 / rows, usually 1e-5.",
        )
    high = 1.0
    while delta_of(high, epsilon) > delta:
        high *= 2
    return _bisect(lambda sigma: delta_of(sigma, epsilon) <= delta, 0.0, high)


def composed(sigmas: Sequence[float]) -> float:
    """The noise of the one mechanism that costs what all of these cost together; ∞ for none."""
    total = sum(sigma**-2 for sigma in sigmas)
    return total**-0.5 if total else math.inf


def _bisect(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The least number between at which it holds, from above: rounding never costs privacy."""
    for _ in range(200):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _log_normal(x: float) -> float:
    """log Φ(x), also far out in the lower tail, where Φ is no number any more."""
    if x > -30:
        return math.log(0.5 * math.erfc(-x / math.sqrt(2)))
    square = x * x  # asymptotic series; the next term is below 2e-11 of the whole
    series = 1 - 1 / square + 3 / square**2 - 15 / square**3
    return -0.5 * square - math.log(-x * math.sqrt(2 * math.pi)) + math.log(series)
