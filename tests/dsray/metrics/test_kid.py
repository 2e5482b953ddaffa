import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics.pairwise import polynomial_kernel

from dsray.errors import DsrayError
from dsray.metrics.kid import kid, mmd2


def two_sets(seed, n=40, m=30, d=6, shift=0.5):
    random = np.random.default_rng(seed)
    return random.normal(size=(n, d)), random.normal(size=(m, d)) + shift


def textbook(x, y):
    """The estimator of Gretton 2012 in plain sums, on scikit-learn's kernel."""
    xx, yy, xy = (polynomial_kernel(a, b, degree=3, coef0=1) for a, b in ((x, x), (y, y), (x, y)))
    pairs = [np.mean([k[i, j] for i in range(len(k)) for j in range(len(k)) if i != j]) for k in (xx, yy)]
    return sum(pairs) - 2 * xy.mean()


def test_it_agrees_with_plain_sums_over_scikit_learns_kernel():
    x, y = two_sets(0)
    assert mmd2(x, y) == pytest.approx(textbook(x, y), rel=1e-10)
    assert mmd2(x.astype(np.float32), y.astype(np.float32)) == pytest.approx(textbook(x, y), rel=1e-4)


def test_the_closed_form_of_two_points():
    """k(0, 0) = 1, k(a, a) = (a² + 1)³, k(0, a) = 1."""
    a = 1.7
    assert mmd2(np.zeros((3, 1)), np.full((5, 1), a)) == pytest.approx(1 + (a * a + 1) ** 3 - 2)


@given(st.integers(0, 10**6))
def test_it_is_symmetric_and_knows_no_order(seed):
    x, y = two_sets(seed)
    order = np.random.default_rng(seed).permutation(len(x))
    assert mmd2(x, y) == pytest.approx(mmd2(y, x), abs=1e-9)
    assert mmd2(x[order], y) == pytest.approx(mmd2(x, y), abs=1e-9)


def test_it_has_no_bias_at_any_size():
    random = np.random.default_rng(1)
    for n in (4, 64):
        found = [mmd2(*random.normal(size=(2, n, 3))) for _ in range(1500)]
        assert abs(np.mean(found)) < 4 * np.std(found) / len(found) ** 0.5


def test_scores_come_with_their_floor_and_error_bars():
    random = np.random.default_rng(2)
    real, other, near = (random.normal(size=(400, 8)) for _ in range(3))
    score = kid(real, other, near, "noise", subsets=20)
    assert abs(score["kid"]) < 3 * score["std"] and abs(score["floor"]) < 3 * score["floor_std"]
    assert (score["n"], score["subset_size"], score["extractor"]) == (400, 200, "noise")
    far = kid(real, other, near + 1, "noise", subsets=20)
    assert far["kid"] > 5 * far["std"] and far["floor"] == score["floor"]
    assert far["kid"] == pytest.approx(mmd2(real, near + 1), abs=3 * far["std"])
    assert kid(real, other, near, "noise", subsets=20) == score


def test_too_few_rows_are_a_sentence():
    with pytest.raises(DsrayError, match="Too few rows"):
        kid(np.ones((3, 2)), np.ones((9, 2)), np.ones((9, 2)), "x")
