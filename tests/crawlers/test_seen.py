"""crawlers.seen: a set of keys, also across its merges."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from crawlers import seen
from crawlers.seen import Seen

KEYS = st.lists(st.one_of(st.integers(0, 12), st.sampled_from([2**63 - 1, 2**63, 2**64 - 1])), max_size=40)


@given(KEYS, KEYS, st.integers(1, 5))
def test_it_is_a_set_whatever_is_merged_when(before, added, newest):
    said = seen._NEWEST
    seen._NEWEST = newest
    try:
        mine, reference = Seen(np.unique(np.array(before, np.uint64))), set(before)
        for key in added:
            assert mine.add(key) == (key not in reference)
            reference.add(key)
            assert all((one in mine) == (one in reference) for one in (*before, *added, 13, 2**62))
    finally:
        seen._NEWEST = said


def test_nothing_is_seen_at_first():
    mine = Seen()
    assert 0 not in mine and mine.add(0) and 0 in mine and not mine.add(0)


def test_many_keys_are_merged_into_the_array():
    mine = Seen()
    assert all(mine.add(key) for key in range(0, 2 * seen._NEWEST + 20, 2))
    assert len(mine.sorted) == seen._NEWEST and len(mine.newest) == 10
    assert 2 in mine and 3 not in mine and 2 * seen._NEWEST in mine
