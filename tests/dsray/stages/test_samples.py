"""The table of samples."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from dsray.stages.samples import packed


@given(st.lists(st.none() | st.binary(max_size=9), max_size=20))
def test_packed_bytes_are_those_of_arrow(values):
    column = packed(values)
    column.validate(full=True)
    assert column.equals(pa.array(values, pa.binary()))
