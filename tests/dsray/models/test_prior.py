from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from dsray import rng
from dsray.models import prior


def blobs(rows: int = 600) -> np.ndarray:
    random = np.random.default_rng(0)
    centres = np.array([[0.0, 0, 0], [6, 0, 0], [0, 8, 1]])
    return centres[np.arange(rows) % 3] + random.normal(size=(rows, 3)) @ np.array(
        [[1, 0.5, 0], [0, 0.7, 0], [0, 0, 0.3]]
    )


def test_each_step_of_em_raises_the_likelihood():
    x = blobs()
    scores = [prior.fit(x, 3, seed=1, steps=n, tolerance=-np.inf).log_density(x).mean() for n in (1, 2, 4, 8, 16)]
    assert all(b >= a - 1e-9 for a, b in pairwise(scores)) and scores[-1] > scores[0]


@pytest.mark.parametrize("seed", range(3))
def test_it_agrees_with_scikit_learn(seed):
    mixtures = pytest.importorskip("sklearn.mixture")
    x = blobs()
    ours = prior.fit(x, 3, seed=seed, steps=500, tolerance=1e-9)
    theirs = mixtures.GaussianMixture(3, reg_covar=1e-3, means_init=ours.mean_KD, tol=1e-9, max_iter=500).fit(x)
    assert ours.log_density(x).mean() == pytest.approx(theirs.score(x), abs=1e-4)
    np.testing.assert_allclose(ours.mean_KD, theirs.means_, atol=0.01)
    np.testing.assert_allclose(ours.weight_K, theirs.weights_, atol=0.01)
    covariance = ours.root_KDD @ ours.root_KDD.transpose(0, 2, 1)
    np.testing.assert_allclose(covariance, theirs.covariances_, atol=0.02)


def test_the_density_is_scipys():
    mixture = prior.fit(blobs(), 2, seed=0)
    parts = [
        weight * stats.multivariate_normal(mean, root @ root.T).pdf(blobs(30))
        for weight, mean, root in zip(mixture.weight_K, mixture.mean_KD, mixture.root_KDD, strict=True)
    ]
    np.testing.assert_allclose(mixture.log_density(blobs(30)), np.log(sum(parts)), rtol=1e-9)


def test_samples_have_the_moments_of_what_was_fitted():
    x = blobs()
    mixture = prior.padded(prior.fit(x, 3, seed=0), 6)
    rows = np.arange(20_000, dtype=np.uint64)
    drawn = mixture.sample(rng.uniform(0, "pick", rows)[:, 0], rng.normal(0, "noise", rows, draws=3))
    np.testing.assert_allclose(drawn.mean(0), x.mean(0), atol=0.1)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(x.T), atol=0.3)


def test_fewer_rows_than_components_are_enough():
    for rows in (1, 2, 3):
        mixture = prior.padded(prior.fit(blobs()[:rows], 5, seed=0), 5)
        assert mixture.weight_K.shape == (5,) and mixture.weight_K.sum() == pytest.approx(1)
        assert np.isfinite(mixture.log_density(blobs()[:rows])).all()
    same = prior.fit(np.ones((50, 4)), 3, seed=0)  # all rows are one
    assert np.isfinite(same.log_density(np.ones((1, 4)))).all()


def test_before_it_is_fitted_it_is_standard():
    noise = np.random.default_rng(0).normal(size=(5, 2))
    assert np.array_equal(prior.standard(2, 3).sample(np.linspace(0, 0.999, 5), noise), noise)
