"""lookup: a row is found by a column, and read, without the rest of its shard."""

import pyarrow as pa
import pytest

from dsray import keys
from dsray.errors import DamagedError
from dsray.lake import lookup, shards
from dsray.lake.shards import Receipt


def table(first: int, rows: int, payload: bytes = b"x" * 64) -> pa.Table:
    ids = [keys.row_id(str(first + row)) for row in range(rows)]
    return pa.table({"id": ids, "url": [f"http://s/{first + row}" for row in range(rows)],
                     "payload": pa.array([payload] * rows, pa.large_binary())})  # fmt: skip


def test_find_and_read_one_row(store):
    receipts = [shards.write_raw(store, "s", table(number * 50, 50)) for number in range(4)]
    (place,) = lookup.find(store, receipts, "id", keys.row_id("123"))
    assert (place.shard, place.row) == (receipts[2], 23)
    assert lookup.one(store, place.shard, place.row, without=["payload"]) == {"id": place.value, "url": "http://s/123"}
    assert lookup.row_of(store, place.shard, place.row, ["payload"]).num_rows == 1
    assert [found.value for found in lookup.find(store, receipts, "url", "http://s/12", prefix=True)] == [
        f"http://s/{number}" for number in (12, *range(120, 130))
    ]
    assert lookup.find(store, receipts, "url", "http://s/9999") == []


def test_rows_are_counted_over_row_groups(store):
    receipt = shards.write_raw(store, "s", table(0, 300, b"x" * 2**18))  # 64 rows a group
    (place,) = lookup.find(store, [receipt], "id", keys.row_id("299"))
    assert place.row == 299 and lookup.one(store, receipt, 299, ["url"]) == {"url": "http://s/299"}


def test_shards_that_are_gone_have_no_rows_and_damage_is_told(store):
    receipt = shards.write_raw(store, "s", table(0, 5))
    gone = Receipt("raw/s/00/gone.parquet", "", 5, 5)
    assert len(lookup.find(store, [gone, receipt], "id", keys.row_id("3"))) == 1
    store.create("raw/s/00/broken.parquet", b"PAR1 and no more")
    with pytest.raises(DamagedError, match=r"raw/s/00/broken.parquet is damaged"):
        lookup.find(store, [Receipt("raw/s/00/broken.parquet", keys.digest(b"whole"), 5, 5)], "id", keys.row_id("3"))


def test_a_row_is_found_among_hundreds_of_shards(tmp_path):
    from dsray.lake.store import open_store

    store = open_store(f"file://{tmp_path}")
    receipts = [shards.write_raw(store, "s", table(number * 20, 20)) for number in range(300)]
    assert len(lookup.find(store, receipts, "id", keys.row_id("4321"))) == 1
