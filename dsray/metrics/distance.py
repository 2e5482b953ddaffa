"""Fréchet distance between two sets of features: how far synthetic rows lie from real ones, next to real from real."""

from collections.abc import Sequence
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
    ratio: float  # distance / floor; grows with n wherever the distributions differ
    excess: float  # (distance - floor) / variance of the real rows: about the same at any n, 0 for real rows
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
    pairs = []
    for network in range(NETWORKS):
        real, other, (made,) = learned_features(images, labels, held_out, [synthetic], classes, seed + network)
        pairs.append(apart(real, other, made))
    return averaged(pairs)


def learned_features(
    images: Images, labels: Labels, held_out: Images, synthetic: Sequence[Images], classes: int, seed: int
) -> tuple[Floats, Floats, list[Floats]]:
    """(held out [n, 64], other real [n, 64], each synthetic set [≤ n, 64]) of one network that has seen none of them.

    Rows are in random order, so the first of each are a sample. Raises DsrayError when there are too few rows.
    """
    n = min(len(images) // 4, len(held_out))
    if min(n, *map(len, synthetic)) < 1:
        made_n = ", ".join(str(len(rows)) for rows in synthetic)
        raise DsrayError(
            f"Too few rows for a distance: {len(images)} real, {len(held_out)} held out, {made_n} synthetic.",
            "Collect more, or give `select.split` a larger test.",
        )
    aside = np.zeros(len(images), bool)
    aside[_some(len(images), n, seed)] = True
    net = classifier.fit(images[~aside], labels[~aside], classes, seed)
    real, *made = (classifier.features(net, rows[_some(len(rows), n, seed)]) for rows in (held_out, *synthetic))
    other = classifier.features(net, images[aside][_some(n, n, seed)])
    return real, other, made


class Pair(TypedDict):
    distance: float
    floor: float
    excess: float
    n: int


def apart(real: Floats, other: Floats, made: Floats) -> Pair:
    """Synthetic and other real rows against real ones, as many of each, in the features of one network."""
    n = min(len(real), len(other), len(made))
    distance, floor = (frechet(rows[:n], real[:n]) for rows in (made, other))
    spread = float(real[:n].var(0).sum())
    return Pair(distance=distance, floor=floor, excess=(distance - floor) / max(spread, 1e-9), n=n)


def averaged(pairs: Sequence[Pair]) -> Distance:
    """The mean over the networks, whose rows were as many."""
    distance = float(np.mean([pair["distance"] for pair in pairs]))
    floor = float(np.mean([pair["floor"] for pair in pairs]))
    return Distance(
        distance=distance,
        floor=floor,
        ratio=distance / max(floor, 1e-9),
        excess=float(np.mean([pair["excess"] for pair in pairs])),
        n=pairs[0]["n"],
        extractor=EXTRACTOR,
    )


def _some(count: int, n: int, seed: int) -> NDArray[np.int64]:
    """n different places among `count`, at random: rows often come in an order that matters."""
    return rng.permutation(seed, "distance", count)[:n]


def _root(x_ND: Floats) -> Floats:
    """R [M, D] with RᵀR the covariance of the rows: the triangular factor of the centred rows."""
    centred_ND = x_ND - x_ND.mean(0)
    return np.asarray(np.linalg.qr(centred_ND / max(1, len(x_ND) - 1) ** 0.5, mode="r"))
