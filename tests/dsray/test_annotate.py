"""dsray.annotate: the rows that matter most, the same however they lie in shards."""

import json

import pyarrow as pa
import pytest

from dsray import annotate, schema
from dsray.annotate import Candidate, choose, mixed, once
from dsray.lake import shards
from dsray.stages.label import labels
from rows import drawing, facts_of, png, raw_table

ROWS = 40


@pytest.fixture(scope="module")
def tables() -> tuple[pa.Table, pa.Table, pa.Table]:
    """Row r: no label for 0..9, one sure vote for 10..19, a doubtful one for 20..29, a conflict from 30 on. 35 doubles
    the payload of 34, and 39 does not decode."""
    payloads = [png(drawing(at, 48)) for at in range(ROWS)]
    payloads[35], payloads[39] = payloads[34], b"nothing"
    raw = raw_table(payloads, [f"row {at}" for at in range(ROWS)])
    ids = raw["id"].to_pylist()
    sure = {ids[at]: [["", "x", 0.05 * at if 20 <= at < 30 else 1.0, None]] for at in range(10, ROWS)}
    sure |= {ids[at]: [["", "x", 1.0, None], ["", "y", (at - 29) / 10, None]] for at in range(30, ROWS)}
    sure = {row: [[who, label, min(1.0, c) * (0.5 if 20 <= ids.index(row) < 30 else 1), o] for who, label, c, o in said]
            for row, said in sure.items()}  # fmt: skip
    made, _ = labels(raw, labellers=[{"file": {"path": "l.csv"}}], imported={"0": sure})
    return raw, facts_of(raw), made


def families(tables, store, cuts: list[int]):
    bounds = list(zip([0, *cuts], [*cuts, ROWS], strict=True))
    return [
        tuple(shards.write_named(store, f"t{at}", table.slice(low, high - low), {}) for at, table in enumerate(tables))
        for low, high in bounds
    ]


def chosen(tables, store, cuts: list[int], rows: int, by: str | None) -> list[int]:
    ids = tables[0]["id"].to_pylist()
    return [ids.index(one.id) for one in choose(families(tables, store, cuts), store, 7, rows, by)]


@pytest.mark.parametrize("by", ["conflict", "uncertain", "unlabelled", "random", None])
@pytest.mark.parametrize("rows", [1, 7, 100])
def test_shards_change_nothing(tables, store, by, rows):
    whole = chosen(tables, store, [], rows, by)
    assert whole == chosen(tables, store, [13, 29], rows, by) == chosen(tables, store, [1, 2, 34, 35, 39], rows, by)
    assert len(set(whole)) == len(whole) <= rows and 39 not in whole
    assert not {34, 35} <= set(whole), "one of equal payloads"


def test_each_order_is_what_it_says(tables, store):
    conflicts = chosen(tables, store, [20], 100, "conflict")
    agreement = [tables[2]["agreement"][row].as_py() for row in conflicts]
    assert {*conflicts} | {34, 35} == {*range(30, 39)} and agreement == sorted(agreement)
    uncertain = chosen(tables, store, [20], 10, "uncertain")
    assert {*uncertain} == {*range(20, 30)}
    confidence = [tables[2]["confidence"][row].as_py() for row in uncertain]
    assert confidence == sorted(confidence)
    assert {*chosen(tables, store, [20], 100, "unlabelled")} == {*range(10)}
    assert len(chosen(tables, store, [20], 100, "random")) == ROWS - 2


def test_the_mix_is_as_documented_and_fills_up(tables, store):
    found = chosen(tables, store, [20], 12, None)
    kinds = ["conflict" if row >= 30 else "uncertain" if row >= 20 else "unlabelled" for row in found]
    assert kinds == ["conflict"] * 6 + ["uncertain"] * 3 + ["unlabelled"] * 3
    assert len(chosen(tables, store, [20], 100, None)) == ROWS - 2, "in the end, random ones"


def test_what_one_has_too_few_of_goes_to_the_next():
    def some(name: str, count: int) -> list[Candidate]:
        return [Candidate(0.0, at / 100, f"{name}{at}", f"{name}{at}", 0) for at in range(count)]

    orders = {"conflict": some("c", 1), "uncertain": some("u", 50), "unlabelled": some("n", 50), "random": []}
    found = [one.id[0] for one in mixed(orders, 20)]
    assert found == ["c"] + ["u"] * 14 + ["n"] * 5


def test_once_keeps_the_first():
    said = [
        Candidate(0.5, 0.1, "b", "same", 1),
        Candidate(0.2, 0.9, "a", "same", 0),
        Candidate(0.3, 0, "c", "other", 0),
    ]
    assert [one.id for one in once(said)] == ["a", "c"]


def test_sizes_of_turned_images_are_upright(store):
    """Objects are in pixels of the upright image, and so are the sizes in a file."""
    import io

    from PIL import Image

    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(drawing(1, 64)).resize((80, 40)).save(file, "JPEG", exif=exif)
    raw = raw_table([file.getvalue()])
    made = labels(raw, labellers=[{"column": {"name": "caption"}}])[0]
    assert made.schema.equals(schema.LABELS)
    tables = (raw, facts_of(raw), made)
    family = [tuple(shards.write_named(store, f"t{at}", table, {}) for at, table in enumerate(tables))]
    shown = annotate._shown(family, choose(family, store, 0, 1, None), store, _folder(store))
    assert (shown[0].width, shown[0].height) == (40, 80)
    assert shown[0].file.endswith(".jpeg") and json.dumps(shown[0]._asdict())


def _folder(store):
    from pathlib import Path

    return Path(store.url.removeprefix("file://")).parent / "out"
