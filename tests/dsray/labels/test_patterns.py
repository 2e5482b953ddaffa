"""labels.patterns: counts from Arrow are counts in Python, however the rows are cut."""

from collections import Counter

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from dsray.labels import patterns
from dsray.labels.model import LabelModel
from dsray.schema import LABELS

TYPE = LABELS.field("votes").type
WORDS = st.sampled_from(["a", "b,1", "", "x\x1fy", "ü"])
ROWS = st.lists(st.none() | st.lists(st.tuples(WORDS, WORDS), max_size=4), max_size=20)


def column(rows: list) -> pa.Array:
    said = [row and [{"source": s, "label": c, "confidence": 0.5} for s, c in row] for row in rows]
    return pa.array(said, TYPE)


@given(ROWS, st.integers(0, 20))
def test_a_pattern_is_the_votes_of_a_row_in_order(rows, cut):
    expected = Counter(tuple(row) for row in rows if row)
    whole = column(rows)
    assert patterns.count(pa.chunked_array([whole], TYPE)) == expected
    assert patterns.count(pa.chunked_array([whole.slice(0, cut), whole.slice(cut)], TYPE)) == expected
    assert patterns.labels(expected) == dict(sorted(Counter(c for row in rows for _, c in row or ()).items()))


def test_what_is_told_of_each_source():
    counted = {(("a", "x"), ("b", "y")): 2, (("a", "x"),): 3, (("a", "x"), ("a", "y")): 1}
    told = patterns.sources(counted, 10, ["b", "idle"], LabelModel({"a": 0.9, "b": 0.5}, {"x": 0.5, "y": 0.5}))
    assert list(told) == ["b", "idle", "a"]
    assert told["a"] == {"votes": 7, "coverage": 0.6, "conflicts": 3, "accuracy": 0.9}
    assert told["b"] == {"votes": 2, "coverage": 0.2, "conflicts": 2, "accuracy": 0.5}
    assert told["idle"] == {"votes": 0, "coverage": 0.0, "conflicts": 0}
