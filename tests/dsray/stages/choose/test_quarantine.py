"""quarantine: what other thresholds bring back are counts of values, cumulative, up to all rows of the rule."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsray.stages.choose.quarantine import back, numbers

VALUES = st.lists(st.integers(-5000, 2999).map(lambda n: n / 100), min_size=1, max_size=60)


@given(VALUES)
def test_a_looser_threshold_brings_back_the_rows_that_pass_it(values):
    for side, sign, value_N in (("min", 1, np.array(values)), ("max", -1, -np.array(values))):
        steps = back(value_N, f"{side} {sign * 30:g} (quantile 0.1)")
        for words, rows in steps[:-1]:
            loose = float(words.split()[1])
            passed = value_N >= loose - 1e-9 if side == "min" else value_N <= loose + 1e-9
            assert rows == passed.sum()
        assert steps[-1] == (f"no {side}", len(values))
        assert [rows for _, rows in steps] == sorted({rows for _, rows in steps})


@pytest.mark.parametrize("threshold", ["", "decodable", "same bytes", "radius 2", "at most 3", "a label"])
def test_a_rule_without_a_number_has_no_other_threshold(threshold):
    assert back(np.ones(3), threshold) == []


def test_words_are_no_numbers():
    assert numbers([pa.chunked_array([["1.5", "truncated", None]])]).tolist() == [1.5]
