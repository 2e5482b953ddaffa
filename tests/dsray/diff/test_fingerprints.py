"""dsray.diff.fingerprints: equal values have equal hashes, whatever table they are in; others, and none, have not."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsray.diff.fingerprints import hashes
from dsray.schema import MEDIA, MIXED, OBJECT

VALUES = {
    pa.string(): ["", "a", "None", "nan", None],
    pa.binary(): [b"", b"a", b"None", None],
    pa.int64(): [0, -1, 2**62, None],
    pa.float64(): [0.5, 1.0, 1e300, None],
    pa.list_(OBJECT): [[], [{"label": "a", "x": 1.5}], [{"label": "b", "x": 1.5}], None],
    MIXED: [{"parent": "p", "share": 0.5}, {"parent": "p", "share": 0.25}, None],
    pa.struct([MEDIA.field(0)]): [{"bytes": b"a"}, {"bytes": b""}, {"bytes": b"None"}],
}


@pytest.mark.parametrize("type_", VALUES, ids=str)
def test_other_values_have_other_hashes(type_):
    found = hashes(pa.chunked_array([pa.array(VALUES[type_], type_)]))
    assert len(set(found.tolist())) == len(found) and found.dtype == np.uint64
    assert all((value is None) == (number == 0) for value, number in zip(VALUES[type_], found, strict=True))


@given(st.lists(st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"])))), st.integers(0, 20))
def test_a_hash_is_of_the_value_alone(values, cut):
    cut = min(cut, len(values))
    whole = hashes(pa.chunked_array([pa.array(values, pa.string())]))
    parts = [hashes(pa.chunked_array([pa.array(part, pa.string())])) for part in (values[:cut], values[cut:])]
    assert np.array_equal(whole, np.concatenate(parts))
    assert np.array_equal(whole, hashes(pa.chunked_array([pa.array(values, pa.large_string())])))
