"""Detection (C2ST): can a classifier that is told which rows are real tell the others by what it has not seen?"""

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from dsray import rng
from dsray.metrics import classifier
from dsray.metrics.classifier import Images
from dsray.metrics.roc import auc
from dsray.metrics.subset import same_size


class Detection(TypedDict):
    accuracy: float  # on held-out rows, half of them real; .5 when they can't be told apart
    auc: float  # 1 when all can, .5 when none can
    floor_accuracy: float  # of real rows against other real rows
    floor_auc: float
    error: float  # standard error of an accuracy of one half, (4 · 2n)^-½: what chance alone does
    n: int  # rows on either side; each is judged once, by a network that has not seen it
    extractor: str


def detection(real: Images, other: Images, synthetic: Images, seed: int = 0) -> Detection:
    """Classifier two-sample test (Lopez-Paz and Oquab 2017, arXiv:1610.06545) on pixels, in two folds.

    Raises DsrayError below 4 rows of each.
    """
    real, other, synthetic = same_size(real, other, synthetic, seed, least=4)
    n = len(real)
    (accuracy, area), (floor, floor_area) = (_told_apart(real, rows, seed) for rows in (synthetic, other))
    return Detection(
        accuracy=accuracy,
        auc=area,
        floor_accuracy=floor,
        floor_auc=floor_area,
        error=(8 * n) ** -0.5,
        n=n,
        extractor=f"convolutional classifier on pixels, {classifier.STEPS} steps",
    )


def _told_apart(real: Images, made: Images, seed: int) -> tuple[float, float]:
    """(accuracy, AUC), the mean over the two folds: scores of two networks are no common scale."""
    fold_real, fold_made = (rng.permutation(seed, f"detection {name}", len(real)) % 2 for name in ("real", "made"))
    found = []
    for fold in (0, 1):
        train = np.concatenate([real[fold_real != fold], made[fold_made != fold]])
        label = np.repeat([0, 1], [(fold_real != fold).sum(), (fold_made != fold).sum()])
        net = classifier.fit(train, label, 2, seed + fold)
        score_real, score_made = (_score(net, rows) for rows in (real[fold_real == fold], made[fold_made == fold]))
        right = np.concatenate([score_real < 0, score_made >= 0])
        found.append((float(right.mean()), auc(score_made, score_real)))
    accuracy, area = np.mean(found, axis=0)
    return float(accuracy), float(area)


def _score(net: classifier.Classifier, images: Images) -> NDArray[np.float64]:
    """Log odds of being synthetic."""
    logits_N2 = classifier.logits(net, images)
    return np.asarray(logits_N2[:, 1] - logits_N2[:, 0])
