import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.stats import wasserstein_distance

from dsray.errors import DsrayError
from dsray.metrics import sliced as metric
from dsray.metrics.sliced import sliced, sliced_wasserstein2


def test_on_a_line_it_is_the_best_assignment():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(2, 25, 1))
    cost = np.square(x - y.T)
    assert sliced_wasserstein2(x, y) == pytest.approx(cost[linear_sum_assignment(cost)].mean())


@pytest.mark.parametrize(("n", "m"), [(7, 5), (12, 8), (1, 9)])
def test_unequal_sizes_are_transported_exactly(n, m):
    """The plan does not depend on the power: its cost under |x - y| is scipy's Wasserstein distance."""
    random = np.random.default_rng(n)
    x, y = np.sort(random.normal(size=n)), np.sort(random.normal(size=m))
    row_x, row_y, weight = metric._transport(n, m)
    assert weight.sum() == pytest.approx(1)
    assert (np.abs(x[row_x] - y[row_y]) * weight).sum() == pytest.approx(wasserstein_distance(x, y))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5))
def test_it_is_symmetric_zero_on_equal_sets_and_knows_no_order(seed, d):
    random = np.random.default_rng(seed)
    x, y = random.normal(size=(40, d)), random.normal(size=(30, d)) + 1
    apart = sliced_wasserstein2(x, y, directions=20)
    assert sliced_wasserstein2(x, random.permutation(x), directions=20) == pytest.approx(0, abs=1e-18)
    assert sliced_wasserstein2(y, random.permutation(x), directions=20) == pytest.approx(apart)
    assert sliced_wasserstein2(x + 9, y + 9, directions=20) == pytest.approx(apart)
    assert sliced_wasserstein2(3 * x, 3 * y, directions=20) == pytest.approx(9 * apart)


def test_the_closed_form_of_a_shift():
    x = np.random.default_rng(1).normal(size=(50, 8))
    shift = np.arange(8.0)
    assert sliced_wasserstein2(x, x + shift, directions=4096) == pytest.approx(shift @ shift, rel=0.1)
    for start in range(8):
        theta = metric._directions(start, start + 1, 8, seed=3)[0]
        assert theta @ theta == pytest.approx(1)
        np.testing.assert_array_equal(theta, metric._directions(0, 8, 8, seed=3)[start])


def test_it_sees_what_two_moments_do_not():
    random = np.random.default_rng(2)
    real, other = random.normal(size=(2, 1500, 2))
    same_moments = random.choice([-1.0, 1.0], size=(1500, 2))
    score = sliced(real, other, same_moments, "noise", directions=32)
    assert score["ratio"] > 5 and score["n"] == 1500 and score["extractor"] == "noise"
    assert sliced(real, real, other, "noise", directions=32)["floor"] < 1e-12
    with pytest.raises(DsrayError, match="Too few rows"):
        sliced(real[:1], other, other, "noise")
