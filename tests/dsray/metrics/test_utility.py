import numpy as np
import pytest

from dsray.errors import DsrayError
from dsray.metrics import classifier, copies, distance, utility


def test_good_rows_are_useful_and_wrong_labels_are_not(digits, monkeypatch):
    monkeypatch.setattr(classifier, "STEPS", 120)
    (images, labels), test = digits
    real, good = (images[:600], labels[:600]), (images[600:], labels[600:])
    useful = utility.usefulness(real, good, test, 10, seeds=[0])
    assert 0.93 < useful["ratio"] < 1.07
    assert useful["mean"]["both"] > useful["mean"]["real"] - 0.02
    assert (useful["rows_real"], useful["rows_synthetic"]) == (600, 600)
    assert len(useful["real"]) == len(useful["synthetic"]) == len(useful["both"]) == 1
    shuffled = images[600:], np.roll(labels[600:], 1)
    assert utility.usefulness(real, shuffled, test, 10, seeds=[0])["ratio"] < 0.5


def test_the_ratio_is_of_the_means(monkeypatch):
    found = iter([0.8, 1.0, 0.6, 0.3, 0.9, 0.9])
    monkeypatch.setattr(utility, "accuracy", lambda *_: next(found))
    rows = np.zeros((4, 8, 8, 1), np.uint8), np.zeros(4, np.int64)
    useful = utility.usefulness(rows, rows, rows, 2, seeds=[0, 1])
    assert useful["real"] == [0.8, 1.0] and useful["synthetic"] == [0.6, 0.3]
    assert abs(useful["ratio"] - 0.5) < 1e-12 and abs(useful["std"]["real"] - 0.1) < 1e-12


def test_without_rows_there_is_a_sentence_instead_of_a_number():
    rows, none = (
        (np.zeros((4, 8, 8, 1), np.uint8), np.zeros(4, np.int64)),
        (np.zeros((0, 8, 8, 1), np.uint8), np.zeros(0, int)),
    )
    for train, test in ((rows, none), (none, rows)):
        with pytest.raises(DsrayError, match="held out"):
            utility.accuracy(*train, *test, 2, seed=0)
    for sets in ((none, rows, rows), (rows, none, rows), (rows, rows, none)):
        with pytest.raises(DsrayError, match="held-out"):
            copies.copies(*(images for images, _ in sets))
    with pytest.raises(DsrayError, match="held out"):
        distance.learned_distance(*rows, none[0], rows[0], 2, seed=0)
