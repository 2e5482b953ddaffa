"""gather: the kept rows, their media borrowed from where render put them."""

from dataclasses import replace

import pyarrow as pa
import pytest

from dsray import schema
from dsray.lake import shards
from dsray.lake.store import open_store
from dsray.stages.gather import samples
from dsray.stages.render import forms
from dsray.stages.samples import good, sample_table
from rows import lent, raw_table

SPEC = {"side": 28, "mode": "L", "format": "png", "fit": "pad"}


def verdicts_of(raw, kept, objects=None):
    rows = raw.num_rows
    ids = raw["id"].to_pylist()
    split = [("train" if index % 3 else "test") if keep else None for index, keep in enumerate(kept)]
    nothing = [None] * rows
    return pa.table(
        [ids, kept, nothing, nothing, nothing, ["1"] * rows, objects or nothing, ids, split, nothing],
        schema=schema.VERDICTS,
    )


def of(raw, verdicts, spec=SPEC):
    """The samples with their media, and the counts."""
    form, _ = forms(raw, kind_name="image", spec=spec)
    table, counts = samples({"forms": "f"}, raw, form, verdicts, kind_name="image", texts=["caption"])
    return lent(table, form), counts


def test_only_kept_rows_come_out_and_all_of_them(raw):
    table, counts = of(raw, verdicts_of(raw, [index < 17 and index != 4 for index in range(raw.num_rows)]))
    kept = [row for row in range(17) if row != 4]
    assert table["id"].to_pylist() == raw["id"].take(kept).to_pylist()
    assert [media["path"] for media in table["media"].to_pylist()] == [f"{row}.png" for row in table["id"].to_pylist()]
    assert (counts["in"], counts["kept"], counts["quarantined"]) == (16, 16, 0)
    assert counts["bytes:train"] + counts["bytes:test"] == sum(len(m["bytes"]) for m in table["media"].to_pylist())
    assert table["caption"].to_pylist() == raw["caption"].take(kept).to_pylist()
    assert set(table["origin"].to_pylist()) == {"real"}
    assert table.schema.equals(sample_table(0, ["caption"]).schema)


def test_a_row_without_a_form_is_quarantined_and_counted():
    raw = raw_table([b"no image"])
    table, counts = of(raw, verdicts_of(raw, [True]))
    assert (counts["in"], counts["kept"], counts["quarantined"]) == (1, 0, 1)
    assert table["error"].to_pylist() == ["not_an_image"] and table["media"].to_pylist() == [None]
    assert good(table).num_rows == 0


def test_what_few_rows_have_is_counted(raw):
    verdicts = verdicts_of(raw, [index < 3 for index in range(raw.num_rows)])
    _, counts = of(raw, verdicts)
    assert not any(name.startswith("has:") for name in counts)
    place = verdicts.schema.get_field_index("weight")
    weighed = verdicts.set_column(place, "weight", pa.array([2.0] * 2 + [None] * (raw.num_rows - 2)))
    _, counts = of(raw, weighed)
    assert counts["has:weight"] == 2 and "has:objects" not in counts


def test_objects_are_where_the_form_has_them(raw):
    box = {"label": "a", "x": 0.0, "y": 7.0, "width": 14.0, "height": 7.0, "polygon": None}
    away = box | {"x": 100.0}
    rest = raw.num_rows - 2
    verdicts = verdicts_of(raw, [True, True, *[False] * rest], [[box], [away], *[None] * rest])
    table, counts = of(raw, verdicts, SPEC | {"side": 56})
    found = table["objects"].to_pylist()
    assert found == [[box | {"y": 14.0, "width": 28.0, "height": 14.0}], None] and counts["has:objects"] == 1


@pytest.mark.parametrize("kept", [lambda row: row < 17, lambda row: row % 2 == 0, lambda row: False, lambda row: True])
def test_a_lake_gives_samples_whole(raw, kept, tmp_path):
    """What is written has no pixels; what is read has them, also in parts."""
    lake = open_store(f"file://{tmp_path}")
    form, _ = forms(raw, kind_name="image", spec=SPEC)
    lender = shards.write(lake, "shards/render/a", form)
    verdicts = verdicts_of(raw, [kept(row) for row in range(raw.num_rows)])
    table, counts = samples({"forms": lender.digest}, raw, form, verdicts, kind_name="image")
    receipt = replace(shards.write(lake, "shards/gather/a", table, counts), lender=lender.name)
    assert b"IHDR" not in lake.read(receipt.name) and b"IHDR" in lake.read(lender.name)
    read = shards.read(lake, receipt)
    assert read.equals(lent(table, form))
    paths = shards.read(lake, receipt, ["id", "media.path"])
    assert paths["media"].to_pylist() == [m and {"path": m["path"]} for m in read["media"].to_pylist()]
    assert shards.read(lake, receipt, ["split"]).column_names == ["split"]
