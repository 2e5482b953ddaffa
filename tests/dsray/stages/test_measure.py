"""measure: one fact row per raw row, whatever the payload."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsray.stages.measure import facts_and_forms
from dsray.stages.render import forms
from rows import facts_of, raw_table

SPEC = {"side": 28, "mode": "L", "format": "png", "fit": "pad"}


def test_a_batch_equals_its_halves(raw):
    whole = facts_of(raw)
    halves = [facts_of(part) for part in (raw.slice(0, 9), raw.slice(9))]
    assert whole.equals(pa.concat_tables(halves))


def test_rows_keep_their_order_and_bad_ones_their_reason(raw):
    table = facts_of(raw)
    assert table["id"].equals(raw["id"])
    assert table["error"].to_pylist()[17:20] == ["truncated", "empty", "not_an_image"]
    assert table["error"].to_pylist()[:17] == [None] * 17


@pytest.mark.parametrize("careful", [False, True])
def test_facts_and_forms_of_one_decode_are_those_of_two(raw, careful):
    some = raw.slice(13, 8)
    said = {"kind_name": "image", "signals": {}, "spec": SPEC, "careful": careful}
    (of_both, _), (form, _) = facts_and_forms({"render": True}, some, **said)
    ((alone, _),) = facts_and_forms({"render": False}, some, **said)
    assert of_both.equals(alone) and alone.equals(facts_of(some))
    assert form.equals(forms(some, kind_name="image", spec=SPEC)[0])


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_row(payload):
    table = facts_of(raw_table([payload]))
    assert table.num_rows == 1 and table["error"][0].as_py()
