import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsray.errors import RecipeError
from dsray.models import quota

COUNTS = st.lists(st.integers(0, 40), min_size=1, max_size=6)


@settings(max_examples=40)
@given(COUNTS)
def test_every_stretch_has_its_share_of_each_class(counts):
    order = quota.order(counts)
    assert np.bincount(order, minlength=len(counts)).tolist() == counts
    for number, count in enumerate(counts):
        seen = np.cumsum(order == number)
        expected = count * np.arange(1, len(order) + 1) / max(1, len(order))
        assert np.abs(seen - expected).max(initial=0) <= len(counts)


def test_classes_of_one_size_take_turns():
    assert quota.order([3, 3]).tolist() == [0, 1] * 3


def test_counts_follow_the_classes_and_an_unknown_label_is_told():
    assert quota.counts("gan", {"b": 7}, ["a", "b"]) == [0, 7]
    with pytest.raises(RecipeError, match="no label 'c'") as told:
        quota.counts("gan", {"b": 7, "c": 1}, ["a", "b"])
    assert "a, b" in str(told.value)
