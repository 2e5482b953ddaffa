"""render: the kept rows, each in one form; and augment on top."""

import json

import numpy as np
import pyarrow as pa
import pytest

from dsray import schema
from dsray.kinds import kind
from dsray.stages.augment import copies
from dsray.stages.render import good, samples
from rows import raw_table

SPEC = {"side": 28, "mode": "L", "format": "png", "fit": "pad"}
AUGMENT = {"copies": 2, "rotate": 12.0, "scale": [0.9, 1.1], "translate": 0.08, "shear": 0.0, "flip": False,
           "brightness": 0.0, "contrast": 0.0, "noise": 0.03}  # fmt: skip


def verdicts_of(raw, kept):
    rows = raw.num_rows
    ids = raw["id"].to_pylist()
    split = [("train" if index % 3 else "test") if keep else None for index, keep in enumerate(kept)]
    nothing = [None] * rows
    return pa.table([ids, kept, nothing, nothing, nothing, ["1"] * rows, nothing, ids, split, nothing], schema=schema.VERDICTS)


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


def test_copies_are_of_train_rows_and_can_be_made_again(rendered):
    table, _ = rendered
    made, counts = copies(table, kind_name="image", seed=7, spec=AUGMENT)
    train = [row["id"] for row in table.to_pylist() if row["split"] == "train"]
    assert made["parent"].to_pylist() == train * 2
    assert counts["in"] == counts["kept"] == 2 * len(train)
    assert len(set(made["id"].to_pylist())) == made.num_rows
    parents = {row["id"]: row["media"]["bytes"] for row in table.to_pylist()}
    for row in made.to_pylist():
        assert kind("image").apply(parents[row["parent"]], json.loads(row["transform"])) == row["media"]["bytes"]


def test_a_batch_of_copies_equals_its_halves(rendered):
    table, _ = rendered
    whole, _ = copies(table, kind_name="image", seed=7, spec={**AUGMENT, "copies": 1})
    halves = [
        copies(t, kind_name="image", seed=7, spec={**AUGMENT, "copies": 1})[0]
        for t in (table.slice(0, 7), table.slice(7))
    ]
    assert whole.equals(pa.concat_tables(halves))
