import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dsray import rng
from dsray.errors import DsrayError
from dsray.models.rejection import MOST, keep, laps, realness

CLASSES = st.lists(st.integers(0, 3), min_size=1, max_size=40).map(np.array)


def drawn(index, classes):
    """Images that say which candidate they are."""
    return np.stack([index // 256, index % 256, classes], 1).astype(np.uint8)[:, None, None, :]


def number(images):
    return images[:, 0, 0, 0].astype(np.int64) * 256 + images[:, 0, 0, 1]


def luck(images, index, classes):
    return rng.uniform(0, "luck", index.astype(np.uint64))[:, 0]


def hugging(index):
    return luck(None, index * 7, None) < 0.3


@settings(max_examples=40)
@given(CLASSES, st.sampled_from([1.0, 0.8, 0.5, 0.3]), st.booleans())
def test_each_class_keeps_its_best_among_its_first_that_pass(classes, share, filtered):
    """Against the definition, on all candidates at once."""
    first, near = 1000, (lambda images: hugging(number(images))) if filtered else None
    kept = keep(classes, first, share, drawn, near, luck, ["a", "b", "c", "d"])
    every = np.arange(len(classes) * laps(share))
    for one in np.unique(classes):
        rows = np.flatnonzero(classes == one)
        mine = first + every[classes[every % len(classes)] == one]
        mine = mine[~hugging(mine)] if filtered else mine
        contest = mine[: math.ceil(len(rows) / share - 1e-9)]
        best = np.sort(contest[np.argsort(-luck(None, contest, None), kind="stable")[: len(rows)]])
        assert kept.index_N[rows].tolist() == best.tolist()
    assert np.array_equal(kept.images_NHWC, drawn(kept.index_N, classes))
    assert kept.drawn == kept.near + kept.beaten + len(classes)
    assert (kept.near > 0) <= filtered


def test_without_a_score_the_first_stay():
    kept = keep(np.array([0, 1, 0]), 0, 1.0, drawn, lambda images: number(images) == 1, None, ["a", "b"])
    assert kept.index_N.tolist() == [0, 4, 2] and (kept.drawn, kept.near, kept.beaten) == (4, 1, 0)


def test_a_score_of_minus_infinity_competes_with_nobody():
    def score(images, index, classes):
        return np.where(index % 3 == 0, -np.inf, -index.astype(float))

    kept = keep(np.array([0, 0]), 0, 0.5, drawn, lambda images: number(images) == 1, score, ["a"])
    assert kept.index_N.tolist() == [2, 4]  # of 2, 4, 5, 7
    assert (kept.drawn, kept.near, kept.denied, kept.beaten) == (8, 1, 3, 2)


def test_a_filter_that_drops_nearly_all_is_told_with_the_class():
    only_a = keep(np.array([0, 0]), 0, 1.0, drawn, lambda images: number(images) < 2 * MOST - 2, None, ["a"])
    assert only_a.index_N.tolist() == [2 * MOST - 2, 2 * MOST - 1]
    with pytest.raises(DsrayError, match=f"Of {2 * MOST} candidates of 'b' only 0"):
        keep(np.array([0, 1, 1]), 0, 1.0, drawn, lambda images: images[:, 0, 0, 2] == 1, None, ["a", "b"])


@settings(max_examples=40)
@given(CLASSES, st.sampled_from([1.0, 0.8, 0.3]))
def test_judged_rows_are_the_best_and_the_first_others(classes, share):
    kept = keep(classes, 0, share, drawn, None, luck, ["a", "b", "c", "d"], judged=True)
    every = np.arange(len(classes) * laps(share, judged=True))
    for one in np.unique(classes):
        rows = np.flatnonzero(classes == one)
        contest = every[classes[every % len(classes)] == one][: math.ceil(len(rows) / share - 1e-9)]
        best = contest[np.argsort(-luck(None, contest, None), kind="stable")[: math.ceil(len(rows) / 2)]]
        others = [place for place in contest if place not in best][: len(rows) // 2]
        assert kept.index_N[rows].tolist() == sorted([*best, *others])


class Brightness(nn.Module):
    def forward(self, images, classes):
        return images.mean((1, 2, 3)) + classes


def test_what_is_real_is_kept_by_its_odds():
    """A logit that is higher by log 3 is three times the chance, where a small share is kept."""
    images = np.full((40_000, 1, 1, 1), 255, np.uint8)
    classes = np.arange(40_000) % 2
    score = realness(_Odds(), images, np.arange(40_000), classes, 7, "cpu")
    best = np.argsort(-score)[:2000]
    assert classes[best].mean() == pytest.approx(0.75, abs=0.03)


class _Odds(nn.Module):
    def forward(self, images, classes):
        return images.mean((1, 2, 3)) * 0 + classes * math.log(3)


def test_it_is_judged_as_it_was_trained_in_whatever_pieces():
    images = np.random.default_rng(0).integers(0, 256, (600, 4, 4, 3), np.uint8)
    index, classes = np.arange(600), np.arange(600) % 2
    score = realness(Brightness(), images, index, classes, 7, "cpu")
    luck = score - images.astype(float).mean((1, 2, 3)) / 127.5 + 1 - classes
    assert luck.min() > -1e-5 and luck.mean() == pytest.approx(1, abs=0.15)
    part = realness(Brightness(), images[100:300], index[100:300], classes[100:300], 7, "cpu")
    np.testing.assert_allclose(part, score[100:300], rtol=1e-5)
    assert torch.is_grad_enabled()
