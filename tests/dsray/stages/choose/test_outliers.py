"""outliers: robust z-scores and Mahalanobis distances as other libraries compute them, the same bits in any batch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import median_abs_deviation
from sklearn.covariance import OAS
from sklearn.covariance import oas as oas_of

from dsray.stages.choose.outliers import moments, scale, shrunk, space

FEATURES = arrays(np.uint8, st.tuples(st.integers(2, 40), st.just(5)))


def test_z_is_the_distance_from_the_median_over_the_mad():
    value_N = np.random.default_rng(0).normal(50, 5, 1001)
    found = scale(value_N, logarithmic=False)
    wanted = (value_N - np.median(value_N)) / median_abs_deviation(value_N, scale=1 / 1.4826)
    assert np.allclose(found.z(value_N), wanted, rtol=1e-12)


def test_a_positive_skewed_signal_is_seen_on_a_logarithmic_scale():
    value_N = np.random.default_rng(0).lognormal(3, 1, 10_000)
    found = scale(value_N)
    assert found.floor is not None
    assert (np.abs(found.z(value_N)) > 4).mean() < 2e-4
    assert found.z(np.array([0.0]))[0] == found.z(value_N).min()  # nothing is infinitely far
    assert scale(np.random.default_rng(0).normal(0, 1, 1000)).floor is None


def test_where_half_are_the_same_the_mean_distance_counts_and_where_all_are_nobody_is_far():
    assert scale(np.array([1.0] * 9 + [50.0]), False).z(np.array([50.0]))[0] > 5
    assert scale(np.ones(9)).z(np.array([7.0]))[0] == 0


@given(FEATURES, st.integers(0, 40))
def test_moments_of_parts_add_up_and_distances_of_halves_are_those_of_the_whole(features, cut):
    cut = min(cut, len(features))
    whole, one, other = moments(features), moments(features[:cut]), moments(features[cut:])
    assert all(np.array_equal(w, a + b) for w, a, b in zip(whole, one, other, strict=True))
    found = space(*whole)
    parts = [found.distances(features[:cut]), found.distances(features[cut:])]
    assert np.array_equal(found.distances(features), np.concatenate(parts))


def test_distances_are_mahalanobis_with_oas_shrinkage():
    random = np.random.default_rng(0)
    features = np.clip(random.normal(0, 1, (500, 20)) @ random.normal(0, 12, (20, 20)) + 128, 0, 255).astype(np.uint8)
    assert np.allclose(shrunk(np.cov(features.T.astype(float), bias=True), 500), oas_of(features.astype(float))[0])
    covariance = OAS().fit(features.astype(float)).covariance_ + np.eye(20) / 12
    away = features - features.mean(axis=0)
    wanted = np.sqrt(np.einsum("nd,de,ne->n", away, np.linalg.inv(covariance), away))
    assert space(*moments(features)).distances(features) == pytest.approx(wanted, abs=0.02)
