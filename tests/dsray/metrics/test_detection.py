import numpy as np
import pytest

from dsray.errors import DsrayError
from dsray.metrics import classifier
from dsray.metrics.detection import detection


def test_real_rows_pass_and_rows_with_a_mark_are_found(digits, monkeypatch):
    monkeypatch.setattr(classifier, "STEPS", 60)
    (images, _), _ = digits
    real, other, made = images[:400], images[400:800], images[800:]
    marked = made.copy()
    marked[:, 3:5, 3:5] = 90
    score = detection(real, other, marked)
    assert score["accuracy"] > 0.95 and score["auc"] > 0.98
    assert abs(score["floor_auc"] - 0.5) < 0.1 and abs(score["floor_accuracy"] - 0.5) < 4 * score["error"]
    assert score["n"] == 400 and score["error"] == pytest.approx(np.sqrt(0.25 / 800)) and "pixels" in score["extractor"]


def test_a_row_is_judged_by_a_network_that_has_not_seen_it(monkeypatch):
    """Noise can be learned by heart and by nothing else."""
    monkeypatch.setattr(classifier, "STEPS", 150)
    noise = np.random.default_rng(0).integers(0, 256, (3, 64, 8, 8, 1)).astype(np.uint8)
    score = detection(*noise)
    assert abs(score["accuracy"] - 0.5) < 4 * score["error"]
    with pytest.raises(DsrayError, match="Too few rows"):
        detection(noise[0][:3], noise[1], noise[2])
