"""superseded: of the rows of one URL only the newest counts, as a plain reference finds it."""

from datetime import UTC, datetime

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from deciding import by_rule, verdicts
from dsray.stages.choose.superseded import _MET, replaced
from lakes import rows

Row = tuple[str, int, str]
"""URL, time, id."""

ROWS = st.lists(st.tuples(st.sampled_from("xyz"), st.integers(0, 6), st.sampled_from("abc")), max_size=12)


def table(rows: list[Row]) -> pa.Table:
    named = [{"id": row * 32, "at": at, "where": url, "place": place} for place, (url, at, row) in enumerate(rows)]
    return pa.Table.from_pylist(named, schema=_MET)


def found(rows: list[Row]) -> dict[int, str]:
    return {one["place"]: one["by"].hex()[0] for one in replaced(table(rows)).to_pylist()}


@given(ROWS)
def test_every_row_but_the_newest_of_its_url_is_replaced_by_that_one(rows):
    wanted = {}
    for url in {row[0] for row in rows}:
        *older, newest = sorted((at, row, place) for place, (there, at, row) in enumerate(rows) if there == url)
        wanted |= {place: newest[1] for _, _, place in older}
    assert found(rows) == wanted


@given(ROWS, st.randoms())
def test_the_order_of_the_rows_does_not_matter(rows, random):
    order = list(range(len(rows)))
    random.shuffle(order)
    shuffled = found([rows[place] for place in order])
    assert sorted(shuffled.values()) == sorted(found(rows).values())


def at(day: int) -> datetime:
    return datetime(2026, 11, day, tzinfo=UTC)


def test_content_that_comes_back_after_an_error_counts_though_its_id_is_the_same(store):
    first, error = rows(2)
    made = [dict(row, url="http://site/1", fetched_at=at(day)) for day, row in ((1, first), (2, error), (3, first))]
    made[1]["refused"] = "timeout"
    table = verdicts(store, made, {}, (2, 9), recrawled=["web"])
    assert table["rule"].to_pylist() == ["superseded", "superseded", None]
    assert set(table["value"].drop_null().to_pylist()) == {first["id"]}


def test_rows_of_other_sources_are_left_alone(store):
    made = [dict(row, url="http://site/1", fetched_at=at(1 + n)) for n, row in enumerate(rows(3))]
    assert by_rule(verdicts(store, made, {}, (1, 9), recrawled=["other"])) == {"": [0, 1, 2]}
    assert by_rule(verdicts(store, made, {}, (1, 9), recrawled=["other", "web"])) == {"": [2], "superseded": [0, 1]}
