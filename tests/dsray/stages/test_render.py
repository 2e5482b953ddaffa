"""render: the kept rows, each in one form."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsray import schema
from dsray.kinds import kind
from dsray.stages.render import good, packed, samples
from rows import raw_table

SPEC = {"side": 28, "mode": "L", "format": "png", "fit": "pad"}


def verdicts_of(raw, kept):
    rows = raw.num_rows
    ids = raw["id"].to_pylist()
    split = [("train" if index % 3 else "test") if keep else None for index, keep in enumerate(kept)]
    nothing = [None] * rows
    return pa.table(
        [ids, kept, nothing, nothing, nothing, ["1"] * rows, nothing, ids, split, nothing], schema=schema.VERDICTS
    )


@pytest.fixture(scope="module")
def rendered(raw):
    kept = [index < 17 for index in range(raw.num_rows)]
    return samples(raw, verdicts_of(raw, kept), kind_name="image", spec=SPEC, texts=["caption"])


def test_only_kept_rows_come_out_and_all_of_them(raw, rendered):
    table, counts = rendered
    assert table["id"].to_pylist() == raw["id"].to_pylist()[:17]
    assert (counts["in"], counts["kept"], counts["quarantined"]) == (17, 17, 0)
    assert counts["bytes:train"] + counts["bytes:test"] == sum(len(m["bytes"]) for m in table["media"].to_pylist())
    assert table["caption"].to_pylist() == raw["caption"].to_pylist()[:17]
    assert set(table["origin"].to_pylist()) == {"real"}


def test_all_samples_have_the_one_form(rendered):
    images = kind("image").to_arrays([media["bytes"] for media in rendered[0]["media"].to_pylist()])
    assert images.shape == (17, 28, 28, 1) and images.dtype == np.uint8


def test_a_row_that_cannot_be_rendered_is_quarantined_and_counted():
    raw = raw_table([b"no image"])
    table, counts = samples(raw, verdicts_of(raw, [True]), kind_name="image", spec=SPEC)
    assert (counts["in"], counts["kept"], counts["quarantined"]) == (1, 0, 1)
    assert table["error"].to_pylist()[0] and table["media"].to_pylist() == [None]
    assert good(table).num_rows == 0


def test_a_batch_equals_its_halves(raw):
    verdicts = verdicts_of(raw, [index < 17 for index in range(raw.num_rows)])
    whole, _ = samples(raw, verdicts, kind_name="image", spec=SPEC)
    halves = [samples(raw.slice(*c), verdicts.slice(*c), kind_name="image", spec=SPEC)[0] for c in ((0, 6), (6, None))]
    assert whole.equals(pa.concat_tables(halves))


def test_what_few_rows_have_is_counted(raw):
    verdicts = verdicts_of(raw, [index < 3 for index in range(raw.num_rows)])
    _, counts = samples(raw, verdicts, kind_name="image", spec=SPEC)
    assert not any(name.startswith("has:") for name in counts)
    place = verdicts.schema.get_field_index("weight")
    weighed = verdicts.set_column(place, "weight", pa.array([2.0] * 2 + [None] * (raw.num_rows - 2)))
    _, counts = samples(raw, weighed, kind_name="image", spec=SPEC)
    assert counts["has:weight"] == 2 and "has:objects" not in counts


@given(st.lists(st.none() | st.binary(max_size=9), max_size=20))
def test_packed_bytes_are_those_of_arrow(values):
    column = packed(values)
    column.validate(full=True)
    assert column.equals(pa.array(values, pa.binary()))
