"""A Gaussian mixture by expectation-maximisation: what the latents of each class look like, so that they can be drawn.

Axes: N rows, D numbers, K components, P pairs of numbers, Q products.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dsray import rng

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Mixture:
    """Σ_k weight_k N(mean_k, root_k root_kᵀ); `root` is the Cholesky factor."""

    weight_K: Floats
    mean_KD: Floats
    root_KDD: Floats

    def log_density(self, x_ND: Floats) -> Floats:
        """log p(x) of each row [N], in nats."""
        return _log_sum(_products(x_ND) @ self._coefficients())

    def sample(self, uniform_N: Floats, normal_ND: Floats) -> Floats:
        """One row [D] for each number that picks a component and each vector of standard normals."""
        k_N = np.searchsorted(np.cumsum(self.weight_K), uniform_N * self.weight_K.sum(), side="right")
        k_N = np.minimum(k_N, np.flatnonzero(self.weight_K)[-1])
        return np.asarray(self.mean_KD[k_N] + np.einsum("nij,nj->ni", self.root_KDD[k_N], normal_ND))

    def _coefficients(self) -> Floats:
        """[Q, K], by which `_products` of a row become log(weight_k N(x; k))."""
        size = self.mean_KD.shape[1]
        i, j = np.triu_indices(size)
        found = np.empty((1 + size + len(i), len(self.weight_K)))
        for k, (weight, mean_D, root_DD) in enumerate(zip(self.weight_K, self.mean_KD, self.root_KDD, strict=True)):
            inverse_DD = np.linalg.inv(root_DD)
            precision_DD = inverse_DD.T @ inverse_DD
            log_volume = np.log(np.diag(root_DD)).sum() + 0.5 * size * np.log(2 * np.pi)
            found[0, k] = np.log(max(weight, 1e-300)) - log_volume - 0.5 * mean_D @ precision_DD @ mean_D
            found[1 : 1 + size, k] = precision_DD @ mean_D
            found[1 + size :, k] = precision_DD[i, j] * np.where(i == j, -0.5, -1.0)
        return found


def standard(size: int, components: int = 1) -> Mixture:
    """N(0, 1) in every dimension: the prior before anything was fitted."""
    weight_K = np.zeros(components)
    weight_K[:1] = 1.0
    return Mixture(
        weight_K, np.zeros((components, size)), np.broadcast_to(np.eye(size), (components, size, size)).copy()
    )


def fit(
    x_ND: Floats, components: int, seed: int, *, floor: float = 1e-3, steps: int = 50, tolerance: float = 1e-4
) -> Mixture:
    """The mixture of most likelihood that EM finds from a k-means++ start (Arthur and Vassilvitskii 2007).

    `floor` is added to every variance. Ends when the mean log-likelihood grows by less than `tolerance` nats a row.
    Fewer rows than components are enough: a component needs a row.
    """
    components = max(1, min(components, len(x_ND)))
    centre_D = x_ND.mean(0)  # products of what lies about 0 keep their digits
    x_ND = x_ND - centre_D
    distance_NK = np.square(x_ND[:, None] - _seeds(x_ND, components, seed)[None]).sum(2)
    share_NK = np.eye(components)[distance_NK.argmin(1)]
    products_NQ = _products(x_ND)
    before = -np.inf
    for _ in range(steps):
        mixture = _maximise(products_NQ, share_NK, floor, x_ND.shape[1])
        joint_NK = products_NQ @ mixture._coefficients()
        log_N = _log_sum(joint_NK)
        if log_N.mean() - before < tolerance:
            break
        before = float(log_N.mean())
        share_NK = np.exp(joint_NK - log_N[:, None])
    return replace(mixture, mean_KD=mixture.mean_KD + centre_D)


def padded(mixture: Mixture, components: int) -> Mixture:
    """The same mixture with components of weight 0, up to `components`: all classes then have the same shape."""
    rest = standard(mixture.mean_KD.shape[1], max(0, components - len(mixture.weight_K)))
    both = zip(
        (mixture.weight_K, mixture.mean_KD, mixture.root_KDD),
        (0 * rest.weight_K, rest.mean_KD, rest.root_KDD),
        strict=True,
    )
    return Mixture(*(np.concatenate(parts) for parts in both))


def _products(x_ND: Floats) -> Floats:
    """[N, Q]: 1, the numbers of a row, and their products by twos. The log of a Gaussian is linear in these, and their
    sums are all that its fit needs: a step of EM is two matrix products, whatever the number of components."""
    i, j = np.triu_indices(x_ND.shape[1])
    return np.concatenate([np.ones((len(x_ND), 1)), x_ND, x_ND[:, i] * x_ND[:, j]], 1)


def _maximise(products_NQ: Floats, share_NK: Floats, floor: float, size: int) -> Mixture:
    """The M step: weights, means and covariances of the rows as each component has its share of them."""
    sums_KQ = share_NK.T @ products_NQ
    mass_K = sums_KQ[:, 0] + 1e-10
    mean_KD, square_KP = np.split(sums_KQ[:, 1:] / mass_K[:, None], [size], 1)
    spread_KDD = np.empty((len(mass_K), size, size))
    i, j = np.triu_indices(size)
    spread_KDD[:, i, j] = spread_KDD[:, j, i] = square_KP - mean_KD[:, i] * mean_KD[:, j]
    root_KDD = np.linalg.cholesky(spread_KDD + floor * np.eye(size))
    return Mixture(mass_K / mass_K.sum(), mean_KD, np.asarray(root_KDD))


def _seeds(x_ND: Floats, components: int, seed: int) -> Floats:
    """Rows far apart: the next is drawn with a chance that grows as its squared distance to those before."""
    draw_K = rng.uniform(seed, "mixture", np.zeros(1, np.uint64), draws=components)[0]
    chosen = [int(draw_K[0] * len(x_ND))]
    near_N = np.square(x_ND - x_ND[chosen[0]]).sum(1)
    for draw in draw_K[1:]:
        chance_N = np.cumsum(near_N)
        chosen.append(min(int(np.searchsorted(chance_N, draw * chance_N[-1], side="right")), len(x_ND) - 1))
        near_N = np.minimum(near_N, np.square(x_ND - x_ND[chosen[-1]]).sum(1))
    return x_ND[chosen]


def _log_sum(joint_NK: Floats) -> Floats:
    top_N = joint_NK.max(1)
    return np.asarray(top_N + np.log(np.exp(joint_NK - top_N[:, None]).sum(1)))
