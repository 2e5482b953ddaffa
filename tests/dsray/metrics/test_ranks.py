import itertools
import math

import numpy as np
import pytest
from scipy import stats

from dsray.metrics import ranks


def samples(seed, m=40, n=70, ties=False):
    random = np.random.default_rng(seed)
    a, b = random.normal(0.3, 1, m), random.normal(0, 1, n)
    return (a.round(1), b.round(1)) if ties else (a, b)


@pytest.mark.parametrize("ties", [False, True])
def test_it_is_scipys_mann_whitney(ties):
    a, b = samples(0, ties=ties)
    theirs = stats.mannwhitneyu(a, b, use_continuity=False, method="asymptotic", alternative="greater")
    share, z = ranks.mann_whitney(a, b)
    assert share == pytest.approx(theirs.statistic / (len(a) * len(b)))
    assert stats.norm.sf(z) == pytest.approx(theirs.pvalue, rel=1e-9)
    assert ranks.mann_whitney(b, a)[1] == pytest.approx(-z)
    assert ranks.mann_whitney(np.ones(5), np.ones(9)) == (0.5, 0.0)


def test_delong_is_the_mean_and_the_variance_of_the_pairs_components():
    a, b = samples(1, ties=True)
    pairs = (a[:, None] > b) + 0.5 * (a[:, None] == b)
    auc, error = ranks.delong(a, b)
    assert auc == pytest.approx(pairs.mean())
    assert error**2 == pytest.approx(pairs.mean(1).var(ddof=1) / len(a) + pairs.mean(0).var(ddof=1) / len(b))
    metrics = pytest.importorskip("sklearn.metrics")
    assert auc == pytest.approx(metrics.roc_auc_score(np.repeat([1, 0], [len(a), len(b)]), np.concatenate([a, b])))


def test_delongs_error_is_the_spread_of_the_auc():
    told = [ranks.delong(*samples(seed)) for seed in range(400)]
    auc, error = np.array(told).T
    assert error.mean() == pytest.approx(auc.std(), rel=0.12)
    assert math.isnan(ranks.delong(np.ones(1), np.zeros(5))[1])


def test_precedence_counts_every_order_of_few_numbers():
    """With 3 and 4 numbers, all 35 ways to order them are as likely: p is the share with as many below or more."""
    m, n, j = 3, 4, 2
    below = []
    for places in itertools.combinations(range(m + n), m):
        a = np.array(places, float)
        b = np.array([i for i in range(m + n) if i not in places], float)
        below.append(int((a < np.sort(b)[j - 1]).sum()))
    for places in itertools.combinations(range(m + n), m):
        a = np.array(places, float)
        b = np.array([i for i in range(m + n) if i not in places], float)
        share, p = ranks.precedence(a, b, j / n)
        assert p == pytest.approx(np.mean(np.array(below) >= round(share * m)))


def test_precedence_raises_no_more_alarms_than_it_says():
    told = [ranks.precedence(*np.random.default_rng(seed).normal(size=(2, 300)), 0.01)[1] for seed in range(1000)]
    assert np.mean(np.array(told) < 0.05) < 0.07
    assert ranks.precedence(np.zeros(300), np.ones(300), 0.01)[1] < 1e-12
