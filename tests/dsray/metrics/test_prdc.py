import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from dsray.errors import DsrayError
from dsray.metrics import prdc as metric
from dsray.metrics.prdc import balls, prdc, radii2


def textbook(real, made, k):
    """The definitions, on scipy's full matrix of distances."""
    to_real, to_made = (np.sort(cdist(x, x), axis=1)[:, k] for x in (real, made))  # the 0-th is the row itself
    apart = cdist(real, made)
    in_real, in_made = apart <= to_real[:, None], apart <= to_made[None, :]
    return {
        "precision": in_real.any(0).mean(),
        "recall": in_made.any(1).mean(),
        "density": in_real.sum() / (k * len(made)),
        "coverage": in_real.any(1).mean(),
    }


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.sampled_from([0.0, 100.0]), st.booleans())
def test_it_is_what_the_definitions_say_ties_and_repeats_included(seed, k, far, lattice):
    random = np.random.default_rng(seed)
    real, made = random.normal(size=(40, 3)) + far, random.normal(size=(30, 3)) * 0.8 + far
    if lattice:
        real, made = real.round(), made.round()
    assert balls(real, made, k) == pytest.approx(textbook(real, made, k), abs=1e-12)


def test_the_radius_is_that_of_scikit_learn():
    rows = np.random.default_rng(0).normal(size=(1100, 7)) + 50
    wanted = NearestNeighbors(n_neighbors=6).fit(rows).kneighbors(rows)[0][:, 5]
    np.testing.assert_allclose(np.sqrt(radii2(rows, 5)), wanted, rtol=1e-9)


def test_neighbours_are_exact_where_float32_is_blind():
    """A far row makes the rounding error of the product larger than all distances among the others."""
    random = np.random.default_rng(1)
    rows = np.concatenate([random.normal(size=(300, 2)) * 1e-3, np.full((1, 2), 1e4)])
    wanted = np.sort(cdist(rows, rows), axis=1)[:, 3]
    np.testing.assert_allclose(np.sqrt(radii2(rows, 3)), wanted, rtol=1e-9)
    made = np.concatenate([random.normal(size=(200, 2)) * 1e-3, np.full((1, 2), -1e4)])
    assert balls(rows, made, 3) == pytest.approx(textbook(rows, made, 3), abs=1e-12)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_equal_sets_are_perfect_and_order_is_nothing(seed):
    random = np.random.default_rng(seed)
    x, y = random.normal(size=(60, 4)), random.normal(size=(50, 4)) + 0.3
    same = balls(x, x)
    assert same["precision"] == same["recall"] == same["coverage"] == 1 and same["density"] >= 1
    assert balls(random.permutation(x), random.permutation(y)) == pytest.approx(balls(x, y))
    one, two = balls(x, y), balls(y, x)
    assert (one["precision"], one["recall"]) == (two["recall"], two["precision"])


def test_chunks_change_nothing(monkeypatch):
    random = np.random.default_rng(3)
    x, y = random.normal(size=(90, 4)), random.normal(size=(70, 4))
    whole = balls(x, y)
    monkeypatch.setattr(metric, "_CHUNK", 13)
    monkeypatch.setattr(metric, "_PAIRS", 3)
    assert balls(x, y) == whole


def test_a_collapsed_model_is_precise_and_covers_nothing():
    random = np.random.default_rng(4)
    real, other = random.normal(size=(300, 4)), random.normal(size=(300, 4))
    score = prdc(real, other, np.zeros((300, 4)) + real[np.linalg.norm(real, axis=1).argmin()], "noise")
    assert score["precision"] == 1 and score["recall"] < 0.01 and score["coverage"] < 0.2
    assert score["floor"]["coverage"] > 0.9 and score["floor"]["recall"] > 0.7
    assert (score["k"], score["n"], score["extractor"]) == (5, 300, "noise")
    with pytest.raises(DsrayError, match="6 of each"):
        prdc(real[:5], other, other, "noise")
