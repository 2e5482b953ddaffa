"""Usefulness: how well a classifier that learned from synthetic rows does on real held-out ones (arXiv:1706.02633)."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from dsray.errors import DsrayError
from dsray.metrics import classifier
from dsray.metrics.classifier import Images, Labels

Rows = tuple[Images, Labels]
"""uint8 [N, H, W, C] and class numbers [N]."""


class Usefulness(TypedDict):
    ratio: float  # mean accuracy of synthetic over that of real
    real: list[float]  # accuracy on the test rows, one a seed
    synthetic: list[float]
    both: list[float]
    mean: dict[str, float]
    std: dict[str, float]
    rows_real: int
    rows_synthetic: int


def accuracy(
    images: Images, labels: Labels, test_images: Images, test_labels: Labels, classes: int, seed: int
) -> float:
    """Accuracy on the test rows after training on the others. Every training has the same number of steps.

    Raises DsrayError when either set is empty.
    """
    if min(len(labels), len(test_labels)) == 0:
        raise DsrayError(
            f"An accuracy cannot be had from {len(labels)} rows to train on and {len(test_labels)} held out.",
            "Collect more, or give `select.split` a larger test.",
        )
    return classifier.accuracy(classifier.fit(images, labels, classes, seed), test_images, test_labels)


def usefulness(real: Rows, synthetic: Rows, test: Rows, classes: int, seeds: Sequence[int]) -> Usefulness:
    """Train on real, on synthetic and on both; test on real."""
    both = np.concatenate([real[0], synthetic[0]]), np.concatenate([real[1], synthetic[1]])
    sets = {"real": real, "synthetic": synthetic, "both": both}
    found = {name: [accuracy(*rows, *test, classes, seed) for seed in seeds] for name, rows in sets.items()}
    mean = {name: float(np.mean(values)) for name, values in found.items()}
    return Usefulness(
        ratio=mean["synthetic"] / max(mean["real"], 1e-9),
        real=found["real"],
        synthetic=found["synthetic"],
        both=found["both"],
        mean=mean,
        std={name: float(np.std(values)) for name, values in found.items()},
        rows_real=len(real[1]),
        rows_synthetic=len(synthetic[1]),
    )
