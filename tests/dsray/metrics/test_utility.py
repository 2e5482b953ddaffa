import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import recall_score

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
    shares = iter([0.8, 1.0, 0.6, 0.3, 0.9, 0.9])
    monkeypatch.setattr(utility, "found", lambda *_: np.arange(10) < round(10 * next(shares)))
    rows = np.zeros((10, 8, 8, 1), np.uint8), np.arange(10) % 2
    useful = utility.usefulness(rows, rows, rows, 2, seeds=[0, 1])
    assert useful["real"] == [0.8, 1.0] and useful["synthetic"] == [0.6, 0.3] and useful["n"] == 10
    assert abs(useful["ratio"] - 0.5) < 1e-12 and abs(useful["std"]["real"] - 0.1) < 1e-12


@given(st.integers(0, 10**6), st.integers(1, 6))
def test_accuracies_of_classes_are_recalls_and_their_mean_is_the_accuracy(seed, classes):
    random = np.random.default_rng(seed)
    labels, guess = random.integers(0, classes, (2, 30))
    shares = utility.by_class(guess == labels, labels, classes + 1)
    there = sorted(set(labels.tolist()))
    wanted = recall_score(labels, guess, labels=there, average=None, zero_division=0)
    assert shares[classes] is None and [shares[label] for label in there] == pytest.approx(list(wanted))
    weight = np.bincount(labels, minlength=classes + 1)
    assert sum(w * (s or 0) for w, s in zip(weight, shares, strict=True)) / 30 == pytest.approx(
        (guess == labels).mean()
    )


def test_a_class_that_was_never_made_shows(digits, monkeypatch):
    monkeypatch.setattr(classifier, "STEPS", 100)
    (images, labels), test = digits
    real, rest = (images[:600], labels[:600]), labels[600:] != 3
    made = images[600:][rest], labels[600:][rest]
    useful = utility.usefulness(real, made, test, 10, seeds=[0])
    by_class = useful["per_class"]
    assert by_class["synthetic"][3] == 0 and by_class["real"][3] > 0.6 and by_class["both"][3] > 0.6
    assert utility.accuracy(*made, *test, 10, 0) == useful["synthetic"][0]


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
