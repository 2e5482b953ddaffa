"""Rows near to a forgotten one are marked, whatever way they are turned."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from dsray.stages.choose.forgotten import Near, distances

WORDS = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20)


@given(WORDS, WORDS)
def test_distances_equal_brute_force(words, others):
    found = distances(np.array(words, np.uint64), np.array(others, np.uint64)).tolist()
    assert found == [min((word ^ other).bit_count() for other in others) for word in words]


def state(*signatures: int | None, rule: str | None = None) -> pa.Table:
    rows = len(signatures)
    return pa.table({
        "place": pa.array(range(rows), pa.uint64()), "signature": pa.array(signatures, pa.uint64()),
        "rule": pa.array([rule] + [None] * (rows - 1), pa.string()), "value": pa.nulls(rows, pa.string()),
        "threshold": pa.nulls(rows, pa.string()),
    })  # fmt: skip


def test_only_rows_within_the_radius_that_nothing_dropped_before_are_marked():
    near = Near(np.array([0b1111], np.uint64), 2)
    found = near(state(0b1111, 0b1001, 0b11, 0b1, None, rule="superseded"))
    assert found["rule"].to_pylist() == ["superseded", "forgotten", "forgotten", None, None]
    assert found["value"].to_pylist()[1:3] == ["2 bits", "2 bits"]
    assert found["threshold"].to_pylist()[1] == "radius 2"


def test_a_turned_row_is_near_too():
    turned = Near(np.array([0b1000], np.uint64), 0, lambda word_N: np.stack([word_N, word_N << np.uint64(3)], axis=1))
    assert turned(state(0b1, 0b10))["rule"].to_pylist() == ["forgotten", None]
