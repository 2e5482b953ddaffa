import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from dsray.metrics.roc import auc

SCORES = st.lists(st.integers(-5, 5), min_size=1, max_size=30).map(lambda scores: np.array(scores, float))


@given(SCORES, SCORES)
def test_it_is_scikit_learns_ties_included(positive, negative):
    truth = np.repeat([1, 0], [len(positive), len(negative)])
    assert abs(auc(positive, negative) - roc_auc_score(truth, np.concatenate([positive, negative]))) < 1e-12
    assert abs(auc(positive, negative) + auc(negative, positive) - 1) < 1e-12
    assert auc(positive, positive) == 0.5
