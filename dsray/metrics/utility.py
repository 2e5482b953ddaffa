"""Usefulness: how well a classifier that learned from synthetic rows does on real held-out ones (arXiv:1706.02633)."""

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from dsray.errors import DsrayError
from dsray.metrics import classifier
from dsray.metrics.classifier import Images, Labels

Rows = tuple[Images, Labels]
"""uint8 [N, H, W, C] and class numbers [N]."""


SEEDS = 5


class Usefulness(TypedDict):
    ratio: float  # mean accuracy of synthetic over that of real
    real: list[float]  # accuracy on the test rows, one a seed
    synthetic: list[float]
    both: list[float]
    mean: dict[str, float]
    std: dict[str, float]
    per_class: dict[str, list[float | None]]  # accuracy on the test rows of each class, over the seeds; None: no rows
    n: int  # test rows
    extractor: str
    rows_real: int
    rows_synthetic: int


def accuracy(
    images: Images, labels: Labels, test_images: Images, test_labels: Labels, classes: int, seed: int
) -> float:
    """Accuracy on the test rows after training on the others. Every training has the same number of steps.

    Raises DsrayError when either set is empty.
    """
    return float(found(images, labels, test_images, test_labels, classes, seed).mean())


def found(
    images: Images, labels: Labels, test_images: Images, test_labels: Labels, classes: int, seed: int
) -> NDArray[np.bool_]:
    """[N] whether the class of each test row is found after training on the others. Raises as `accuracy` does."""
    if min(len(labels), len(test_labels)) == 0:
        raise DsrayError(
            f"An accuracy cannot be had from {len(labels)} rows to train on and {len(test_labels)} held out.",
            "Collect more, or give `select.split` a larger test.",
        )
    net = classifier.fit(images, labels, classes, seed)
    return np.asarray(classifier.logits(net, test_images).argmax(1) == test_labels)


def by_class(found_N: NDArray[np.bool_], labels_N: Labels, classes: int) -> list[float | None]:
    """The share of found rows in each class [K]; None where a class has no rows."""
    rows = np.bincount(labels_N, minlength=classes)
    right = np.bincount(labels_N[found_N], minlength=classes)
    return [float(some / all_) if all_ else None for some, all_ in zip(right, rows, strict=True)]


def usefulness(
    real: Rows, synthetic: Rows, test: Rows, classes: int, seeds: Sequence[int] = range(SEEDS)
) -> Usefulness:
    """Train on real (TRTR), on synthetic (TSTR) and on both; test on real. What real rows get is the floor."""
    both = np.concatenate([real[0], synthetic[0]]), np.concatenate([real[1], synthetic[1]])
    sets = {"real": real, "synthetic": synthetic, "both": both}
    hits = {name: [found(*rows, *test, classes, seed) for seed in seeds] for name, rows in sets.items()}
    return summed(hits, test[1], classes, len(real[1]), len(synthetic[1]))


def summed(
    hits: Mapping[str, Sequence[NDArray[np.bool_]]], labels_N: Labels, classes: int, rows_real: int, rows_synthetic: int
) -> Usefulness:
    """What was `found` of the test rows after training on `real`, `synthetic` and `both`, a seed each."""
    accuracies = {name: [float(one_N.mean()) for one_N in found_SN] for name, found_SN in hits.items()}
    mean = {name: float(np.mean(values)) for name, values in accuracies.items()}
    per_class = {
        name: by_class(np.concatenate(found_SN), np.tile(labels_N, len(found_SN)), classes)
        for name, found_SN in hits.items()
    }
    return Usefulness(
        ratio=mean["synthetic"] / max(mean["real"], 1e-9),
        real=accuracies["real"],
        synthetic=accuracies["synthetic"],
        both=accuracies["both"],
        mean=mean,
        std={name: float(np.std(values)) for name, values in accuracies.items()},
        per_class=per_class,
        n=len(labels_N),
        extractor=f"convolutional classifier on pixels, {classifier.STEPS} steps",
        rows_real=rows_real,
        rows_synthetic=rows_synthetic,
    )
