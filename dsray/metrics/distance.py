"""Fréchet distance between two sets of features: how far synthetic rows lie from real ones, next to real from real."""

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from dsray.metrics import classifier
from dsray.metrics.classifier import Images, Labels

Floats = NDArray[np.float64]


class Distance(TypedDict):
    distance: float  # synthetic against held-out real rows
    floor: float  # real rows that the network has not seen against held-out real rows, as many
    ratio: float  # distance / floor
    n: int  # rows on either side: the distance is biased in n, so compare only within one result


def frechet(a_ND: Floats, b_ND: Floats) -> float:
    """‖μa - μb‖² + tr(Σa + Σb - 2 (Σa Σb)^½) of the Gaussians with the sets' moments (Dowson and Landau 1982).

    The trace of the root is the sum of the singular values of Σa^½ Σb^½, which stays exact for singular covariances.
    """
    mean_D = a_ND.mean(0) - b_ND.mean(0)
    root_a, root_b = _root(a_ND), _root(b_ND)
    cross = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    return float(max(0.0, mean_D @ mean_D + np.square(root_a).sum() + np.square(root_b).sum() - 2 * cross))


def learned_distance(
    images: Images, labels: Labels, held_out: Images, synthetic: Images, classes: int, seed: int
) -> Distance:
    """The distance in the features of a small classifier trained on real rows. This is not FID.

    Some training rows are kept from the classifier, as many as are compared: they are the floor, for rows that it has
    learned lie elsewhere than rows that are new to it, real or not. Raises ValueError with fewer than 4 training rows.
    """
    n = min(len(images) // 4, len(held_out), len(synthetic))
    aside = np.zeros(len(images), bool)
    aside[_evenly(len(images), n)] = True
    net = classifier.fit(images[~aside], labels[~aside], classes, seed)
    rows = held_out[_evenly(len(held_out), n)], images[aside], synthetic[_evenly(len(synthetic), n)]
    real, other, made = (classifier.features(net, part) for part in rows)
    distance, floor = frechet(made, real), frechet(other, real)
    return Distance(distance=distance, floor=floor, ratio=distance / max(floor, 1e-9), n=n)


def _evenly(count: int, n: int) -> NDArray[np.int64]:
    """n different places among `count`."""
    return np.arange(n) * count // n


def _root(x_ND: Floats) -> Floats:
    """R [M, D] with RᵀR the covariance of the rows: the triangular factor of the centred rows."""
    centred_ND = x_ND - x_ND.mean(0)
    return np.linalg.qr(centred_ND / max(1, len(x_ND) - 1) ** 0.5, mode="r")
