"""dsray.stages.superseded: of the rows of one URL only the newest counts, as a plain reference finds it."""

from datetime import UTC, datetime

import pyarrow as pa
from dsray.stages.superseded import NONE, find, flags, replaced
from hypothesis import given
from hypothesis import strategies as st

from dsray.lake import shards
from dsray.lake.store import Store
from dsray.schema import RAW
from rows import raw_table

Row = tuple[str, int, str]
"""Place, time, id."""

ROWS = st.lists(st.tuples(st.sampled_from("xyz"), st.integers(0, 6), st.sampled_from("abc")), max_size=12)


def table(rows: list[Row]) -> pa.Table:
    schema = pa.schema([("id", pa.string()), ("at", pa.int64()), ("place", pa.string())])
    return pa.Table.from_pylist([{"id": row, "at": at, "place": place} for place, at, row in rows], schema)


def found(rows: list[Row]) -> list[tuple[str, int, str]]:
    return [(one["id"], one["at"], one["by"]) for one in replaced(table(rows)).to_pylist()]


@given(ROWS)
def test_every_row_but_the_newest_of_its_place_is_replaced_by_that_one(rows):
    wanted = []
    for place in {row[0] for row in rows}:
        *older, newest = sorted((at, row) for there, at, row in rows if there == place)
        wanted += [(row, at, newest[1]) for at, row in older]
    assert sorted(found(rows)) == sorted(wanted)


@given(ROWS, st.randoms())
def test_the_order_of_the_rows_does_not_matter(rows, random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert sorted(found(shuffled)) == sorted(found(rows))


def test_content_that_comes_back_after_an_error_is_flagged_once_though_its_id_is_the_same():
    raw = pa.Table.from_pylist(
        [{"id": row, "fetched_at": datetime.fromtimestamp(at, UTC)} for row, at in (("A", 1), ("E", 2), ("A", 3))],
        pa.schema([RAW.field("id"), RAW.field("fetched_at")]),
    )
    superseded = {(row, at): by for row, at, by in found([("x", 10**6 * (n + 1), row) for n, row in enumerate("AEA")])}
    assert superseded == {("A", 10**6): "A", ("E", 2 * 10**6): "A"}
    assert flags(raw, superseded) == ["A", "A", None]
    assert flags(raw, NONE) == [None, None, None]


def test_rows_of_other_sources_are_left_alone(store: Store, ray_session: None):
    first = raw_table([b"a", b"b"])
    later = raw_table([b"A"])
    moved = later.set_column(
        later.column_names.index("fetched_at"), RAW.field("fetched_at"),
        pa.array([datetime(2027, 1, 1, tzinfo=UTC)], RAW.field("fetched_at").type),
    )  # fmt: skip
    receipts = [shards.write_raw(store, "gallery", one) for one in (first, moved)]
    at = first["fetched_at"].cast(pa.int64())[0].as_py()
    assert find(receipts, store, ["gallery"]) == {(first["id"][0].as_py(), at): later["id"][0].as_py()}
    assert find(receipts, store, ["other"]) == {} and find(receipts, store, []) == {}
