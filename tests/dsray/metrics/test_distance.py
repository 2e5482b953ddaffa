import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import linalg

from dsray.metrics import classifier, distance


def textbook(a, b):
    mean = a.mean(0) - b.mean(0)
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    return mean @ mean + np.trace(cov_a + cov_b - 2 * linalg.sqrtm(cov_a @ cov_b).real)


def test_it_agrees_with_the_formula_by_scipys_matrix_root():
    random = np.random.default_rng(0)
    a = random.normal(size=(200, 6)) @ random.normal(size=(6, 6))
    b = random.normal(size=(150, 6)) @ random.normal(size=(6, 6)) + 1
    assert distance.frechet(a, b) == pytest.approx(textbook(a, b), rel=1e-6)


def test_the_closed_form_in_one_dimension():
    a, b = np.array([[-1.0], [1.0]]) * 3, np.array([[-1.0], [1.0]]) + 5
    deviation = np.sqrt(2)  # of (-1, 1) with n - 1
    assert distance.frechet(a, b) == pytest.approx(25 + (3 * deviation - deviation) ** 2)


def test_it_is_a_distance():
    random = np.random.default_rng(1)
    a, b = random.normal(size=(40, 5)), random.normal(size=(40, 5)) + 2
    assert distance.frechet(a, a) == pytest.approx(0, abs=1e-9)
    assert distance.frechet(a, b) == pytest.approx(distance.frechet(b, a))
    assert distance.frechet(a, b) == pytest.approx(distance.frechet(a + 7, b + 7))


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(2, 12))
def test_it_is_symmetric_and_knows_no_order(seed, d, n):
    random = np.random.default_rng(seed)
    a, b = random.normal(size=(n, d)), random.normal(size=(9, d)) + 1
    assert distance.frechet(random.permutation(a), b) == pytest.approx(distance.frechet(b, a))
    assert distance.frechet(a, random.permutation(a)) == pytest.approx(0, abs=1e-9)


def test_fewer_rows_than_numbers_and_constant_numbers_are_fine():
    random = np.random.default_rng(2)
    a = np.hstack([random.normal(size=(4, 10)), np.ones((4, 3))])
    assert distance.frechet(a, a) == pytest.approx(0, abs=1e-9)
    assert distance.frechet(a, a + 1) == pytest.approx(13)


def test_real_rows_are_near_and_noise_is_far(digits, monkeypatch):
    monkeypatch.setattr(classifier, "STEPS", 60)
    (images, labels), (held_out, _) = digits
    train, other = images[:800], images[800:]
    near = distance.learned_distance(train, labels[:800], held_out, other, 10, seed=0)
    noise = np.random.default_rng(0).integers(0, 256, other.shape).astype(np.uint8)
    far = distance.learned_distance(train, labels[:800], held_out, noise, 10, seed=0)
    assert near["n"] == 200 and far["floor"] == near["floor"] > 0
    assert near["extractor"] == distance.EXTRACTOR and "classifier" in near["extractor"]
    assert near["ratio"] < 3 < 10 < far["ratio"]


def test_the_excess_is_the_same_at_any_n_and_scale_and_the_ratio_is_not():
    random = np.random.default_rng(3)
    real, other, made = (random.normal(size=(6000, 5)) for _ in range(3))
    made = made + 0.5
    few, many = (distance.apart(real[:n], other[:n], made[:n]) for n in (400, 6000))
    assert few["excess"] == pytest.approx(0.25, rel=0.2) and many["excess"] == pytest.approx(0.25, rel=0.1)
    assert many["distance"] / many["floor"] > 5 * few["distance"] / few["floor"]
    larger = distance.apart(real * 7, other * 7, made * 7)
    assert larger["excess"] == pytest.approx(many["excess"])
    assert abs(distance.apart(real, other, random.normal(size=(6000, 5)))["excess"]) < 0.01


def test_sets_of_other_sizes_are_compared_at_the_least_and_none_is_an_error(digits, monkeypatch):
    monkeypatch.setattr(classifier, "STEPS", 3)
    (images, labels), (held_out, _) = digits
    real, other, (small, large) = distance.learned_features(images, labels, held_out, [images[:9], images], 10, 0)
    assert (len(real), len(other), len(small), len(large)) == (300, 300, 9, 300)
    assert distance.apart(real, other, small)["n"] == 9
