"""Fréchet distance between two sets of features: how far synthetic rows lie from real ones, next to real from real."""

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from dsray import rng
from dsray.errors import DsrayError
from dsray.metrics import classifier
from dsray.metrics.classifier import Images, Labels

Floats = NDArray[np.float64]

NETWORKS = 3
"""The mean of as many networks: the scale of one network's features is a matter of chance."""


EXTRACTOR = f"classifier trained on the real rows, {classifier.FEATURES} features"


class Distance(TypedDict):
    distance: float  # synthetic against held-out real rows
    floor: float  # real rows that the network has not seen against held-out real rows, as many
    ratio: float  # distance / floor
    n: int  # rows on either side: the distance is biased in n, so compare only within one result
    extractor: str


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
    """The distance in the features of small classifiers trained on real rows. This is not FID.

    Some training rows are kept from each classifier, as many as are compared: they are the floor, for rows that it
    has learned lie elsewhere than rows that are new to it, real or not. Raises DsrayError when there are too few rows.
    """
    n = min(len(images) // 4, len(held_out), len(synthetic))
    if n < 1:
        raise DsrayError(
            f"Too few rows for a distance: {len(images)} real, {len(held_out)} held out, {len(synthetic)} synthetic.",
            "Collect more, or give `select.split` a larger test.",
        )
    pairs = [_distances(images, labels, held_out, synthetic, n, classes, seed + network) for network in range(NETWORKS)]
    distance, floor = (float(mean) for mean in np.mean(pairs, axis=0))
    return Distance(distance=distance, floor=floor, ratio=distance / max(floor, 1e-9), n=n, extractor=EXTRACTOR)


def _distances(
    images: Images, labels: Labels, held_out: Images, synthetic: Images, n: int, classes: int, seed: int
) -> tuple[float, float]:
    """(synthetic, real) against held-out rows, in the features of one network."""
    real, other, made = learned_features(images, labels, held_out, synthetic, n, classes, seed)
    return frechet(made, real), frechet(other, real)


def learned_features(
    images: Images, labels: Labels, held_out: Images, synthetic: Images, n: int, classes: int, seed: int
) -> tuple[Floats, Floats, Floats]:
    """(held out, other real, synthetic) [n, 64] of one network that has seen none of them, for any score."""
    aside = np.zeros(len(images), bool)
    aside[_some(len(images), n, seed)] = True
    net = classifier.fit(images[~aside], labels[~aside], classes, seed)
    rows = held_out[_some(len(held_out), n, seed)], images[aside], synthetic[_some(len(synthetic), n, seed)]
    real, other, made = (classifier.features(net, part) for part in rows)
    return real, other, made


def _some(count: int, n: int, seed: int) -> NDArray[np.int64]:
    """n different places among `count`, at random: rows often come in an order that matters."""
    return rng.permutation(seed, "distance", count)[:n]


def _root(x_ND: Floats) -> Floats:
    """R [M, D] with RᵀR the covariance of the rows: the triangular factor of the centred rows."""
    centred_ND = x_ND - x_ND.mean(0)
    return np.asarray(np.linalg.qr(centred_ND / max(1, len(x_ND) - 1) ** 0.5, mode="r"))
