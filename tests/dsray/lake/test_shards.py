"""Shards: the same rows are the same bytes, the first writer's receipt stands, damage is named."""

import io
import json
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsray import keys, schema
from dsray.errors import DamagedError, LakeError
from dsray.lake import disk, shards
from dsray.lake.shards import Receipt
from dsray.lake.store import Missing, Store, open_store
from faulty import Faulty

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("n", pa.int64()),
        ("x", pa.float64()),
        ("tags", pa.list_(pa.string())),
        ("media", schema.MEDIA),
        ("payload", pa.large_binary()),
    ],
    metadata={"huggingface": "{}"},
)
ROW = st.fixed_dictionaries(
    {
        "id": st.none() | st.text(max_size=9),
        "n": st.none() | st.integers(-(2**63), 2**63 - 1),
        "x": st.none() | st.floats(allow_nan=False),
        "tags": st.none() | st.lists(st.text(max_size=3), max_size=3),
        "media": st.none() | st.fixed_dictionaries({"bytes": st.binary(max_size=40), "path": st.none() | st.just("a")}),
        "payload": st.none() | st.binary(max_size=99),
    }
)


def pictures(rows: int, side: int = 40) -> pa.Table:
    random = np.random.default_rng(rows)
    payloads = [random.bytes(side) for _ in range(rows)]
    return pa.table({"id": [keys.digest(p)[:32] for p in payloads], "n": range(rows), "payload": payloads})


@given(st.lists(ROW, max_size=30), st.data())
@settings(max_examples=60, deadline=None)
def test_encoding_depends_on_rows_not_on_how_they_were_put_together(rows: list[dict], data: st.DataObject):
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    cut = data.draw(st.integers(0, len(rows)))
    pieces = pa.concat_tables([table.slice(0, cut), table.slice(cut), table.slice(0, 0)])
    inside = pa.concat_tables([table.slice(0, 1), table, table]).slice(min(1, len(rows)), len(rows))
    assert shards.encode(table) == shards.encode(table) == shards.encode(pieces) == shards.encode(inside)


@given(st.lists(ROW, max_size=30))
@settings(max_examples=60, deadline=None)
def test_encoding_loses_nothing(rows: list[dict]):
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    back = pq.read_table(io.BytesIO(shards.encode(table)))
    assert back.equals(table)
    assert back.schema.metadata == SCHEMA.metadata


@pytest.mark.parametrize("rows", [1, 100, 2000])
def test_a_shard_lies_where_a_disk_can_fetch_it(rows: int):
    assert pa.py_buffer(shards.encode(pictures(rows, 4000))).address % disk.BLOCK == 0


def test_big_rows_make_small_row_groups():
    big = pq.ParquetFile(io.BytesIO(shards.encode(pictures(2000, 40_000))))
    small = pq.ParquetFile(io.BytesIO(shards.encode(pictures(2000, 40))))
    assert small.num_row_groups == 1
    assert big.num_row_groups > 3
    assert sum(big.metadata.row_group(i).num_rows for i in range(big.num_row_groups)) == 2000


@pytest.mark.parametrize("of", [pa.list_(pa.float32()), pa.list_(pa.list_(pa.float32(), 50), 100)])
def test_big_lists_make_small_row_groups_too(of: pa.DataType):
    flat = pa.array(np.zeros(2000 * 5000, np.float32))
    if pa.types.is_fixed_size_list(of):
        lists = pa.FixedSizeListArray.from_arrays(pa.FixedSizeListArray.from_arrays(flat, 50), 100)
    else:
        lists = pa.ListArray.from_arrays(np.arange(0, 2000 * 5000 + 1, 5000, np.int32), flat)
    file = pq.ParquetFile(io.BytesIO(shards.encode(pa.table({"tensor": lists}))))
    assert file.num_row_groups >= 4


def test_a_table_that_is_mostly_footer():
    wide = pa.table({f"c{i}": [i] for i in range(4000)})
    data = shards.encode(wide)
    assert len(data) > wide.nbytes + shards._AROUND_BYTES
    assert pq.read_table(io.BytesIO(data)).equals(wide)


def test_pandas_reads_a_shard():
    table = pictures(50)
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(shards.encode(table))), table.to_pandas())


def test_what_is_written_reads_back_whole_and_by_columns(store: Store):
    table = pictures(300)
    name = shards.name_of("measure", "ab" * 32)
    receipt = shards.write(store, name, table, {"in": 300, "kept": 300})
    assert name == f"shards/measure/ab/{'ab' * 32}.parquet"
    assert receipt == Receipt(name, keys.digest(store.read(name)), 300, len(store.read(name)), {"in": 300, "kept": 300})
    assert shards.adopt(store, name) == receipt
    assert shards.read(store, receipt).equals(table)
    assert shards.read(store, receipt, ["n", "id"]).equals(table.select(["n", "id"]))


def test_columns_inside_columns_read(store: Store):
    rows = [{"media": {"bytes": b"%d" % i, "path": str(i)}, "n": i} for i in range(9)]
    table = pa.Table.from_pylist(rows, schema=pa.schema([("media", schema.MEDIA), ("n", pa.int64())]))
    receipt = shards.write(store, "s.parquet", table)
    assert shards.read(store, receipt, ["media.path"])["media"].to_pylist() == [{"path": str(i)} for i in range(9)]


def test_reading_columns_moves_few_bytes(store: Store):
    receipt = shards.write(store, "s.parquet", pictures(200, 20_000))
    with store.open(receipt.name) as file:
        read = 0

        class Counting(io.RawIOBase):
            def readable(self):
                return True

            def seekable(self):
                return True

            def seek(self, offset, whence=0):
                return file.seek(offset, whence)

            def tell(self):
                return file.tell()

            def read(self, size=-1):
                nonlocal read
                data = file.read(size if size >= 0 else None)
                read += len(data)
                return data

        pq.ParquetFile(Counting()).read(columns=["n"])
    assert read < receipt.bytes / 10


def test_the_first_writer_stands_and_others_adopt(store: Store):
    first = shards.write(store, "s.parquet", pictures(3), {"kept": 3})
    second = shards.write(store, "s.parquet", pictures(4), {"kept": 4})
    assert second == first
    assert shards.read(store, second).num_rows == 3


def test_raw_shards_are_named_by_their_bytes(store: Store):
    one, same, other = (shards.write_raw(store, "gallery", pictures(n)) for n in (5, 5, 6))
    assert one == same
    assert one.name == f"raw/gallery/{one.digest[:2]}/{one.digest}.parquet"
    assert keys.digest(store.read(one.name)) == one.digest
    assert [entry.name for entry in store.list("raw/gallery/")] == sorted([one.name, other.name])


def test_what_a_file_stores_of_columns_and_their_parts():
    table = pa.table({"n": [1, 2], "media": pa.array([{"bytes": b"a" * 1000, "path": "x"}] * 2), "no": [3, 4]})
    footer = pq.read_metadata(pa.BufferReader(shards.encode(table)))
    of = {column: shards._stored(footer, [column]) for column in ("n", "no", "media", "media.bytes", "media.path")}
    assert of["media"] == of["media.bytes"] + of["media.path"] and of["media.bytes"] > of["media.path"] > 0
    group = footer.row_group(0)
    every = sum(group.column(number).total_compressed_size for number in range(footer.num_columns))
    assert shards._stored(footer, ["n", "media", "no"]) == every == of["n"] + of["media"] + of["no"]


def test_what_is_not_there(store: Store):
    assert shards.adopt(store, "none.parquet") is None
    for columns in (None, ["id"]):
        with pytest.raises(Missing):
            shards.read(store, Receipt("none.parquet", "0" * 64, 1, 1), columns)
    receipt = shards.write(store, "s.parquet", pictures(3))
    with pytest.raises(LakeError, match="no column colour") as caught:
        shards.read(store, receipt, ["id", "colour"])
    assert not isinstance(caught.value, DamagedError)


@pytest.mark.parametrize("at_once", [0, 2**30])
@pytest.mark.parametrize("columns", [None, ["id"]])
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "text"])
def test_damage_is_named(store: Store, monkeypatch, damage: str, columns: list[str] | None, at_once: int):
    """However the columns are read: all at once, or each piece when it is needed."""
    monkeypatch.setattr(shards, "_AT_ONCE_BYTES", at_once)
    receipt = shards.write(store, "s.parquet", pictures(500))
    data = bytearray(store.read(receipt.name))
    data[5000] ^= 1  # in the middle of the ids
    made = {"flip": bytes(data), "cut": bytes(data[: len(data) // 2]), "empty": b"", "text": b"<html>"}[damage]
    store.delete(receipt.name)
    store.create(receipt.name, made)
    with pytest.raises(DamagedError, match=r"s\.parquet is damaged"):
        shards.read(store, receipt, columns)


@given(offset=st.integers(0, 40_000), bit=st.integers(0, 7))
@settings(max_examples=100, deadline=None)
def test_a_flipped_bit_in_a_page_gives_the_same_values_or_an_error(tmp_path_factory, offset: int, bit: int):
    table = pictures(500)
    data = bytearray(shards.encode(table))
    digest = keys.digest(bytes(data))
    data[offset % (len(data) - 4000)] ^= 1 << bit
    store = open_store(f"file://{tmp_path_factory.mktemp('lake')}")
    store.create("s", bytes(data))
    receipt = Receipt("s", digest, 500, len(data))
    with pytest.raises(DamagedError):
        shards.read(store, receipt)
    with suppress(DamagedError):
        assert shards.read(store, receipt, ["n", "id"]).equals(table.select(["n", "id"]))


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {"digest": "x"},
        {"digest": "0" * 64, "rows": "many", "counts": "{}"},
        {"digest": "0" * 64, "rows": "1", "counts": "[1]"},
    ],
)
def test_an_object_without_a_receipt_is_not_adopted(store: Store, meta: dict[str, str]):
    store.create("s.parquet", b"whatever", meta)
    with pytest.raises(DamagedError, match="carries no receipt"):
        shards.write(store, "s.parquet", pictures(3))


@given(counts=st.dictionaries(st.text(max_size=8), st.integers(0, 2**40), max_size=20))
@settings(max_examples=40, deadline=None)
def test_counts_fit_into_metadata_or_are_refused(counts: dict[str, int]):
    class Kept:
        url = "kept://"

        def create(self, name, data, meta, sha256):
            assert all(value.isascii() and value.isprintable() for value in meta.values())
            assert sum(map(len, [*meta, *meta.values()])) < 1900
            assert json.loads(meta["counts"]) == counts
            return True

    try:
        assert shards.write(Kept(), "s", pictures(1), counts).counts == counts
    except ValueError:
        assert len(json.dumps(counts)) > 1000


def test_a_column_with_a_question_mark_need_not_be_there(store):
    receipt = shards.write(store, shards.name_of("x", "ab" * 32), pa.table({"id": ["1"], "title": ["a"]}))
    assert shards.read(store, receipt, ["id", "title?", "caption?"]).column_names == ["id", "title"]
    with pytest.raises(LakeError, match="has no column caption"):
        shards.read(store, receipt, ["id", "caption"])


@pytest.fixture
def lending(tmp_path) -> tuple[Store, Receipt, Receipt]:
    """A shard with pictures, and one that borrows some of them."""
    lake = open_store(f"file://{tmp_path}")
    media = pa.array([{"bytes": bytes([n]) * 9, "path": f"{n}.png"} for n in range(5)], schema.MEDIA)
    lender = shards.write(lake, "shards/render/a", pa.table({"media": media}))
    plain = pa.table({"id": ["c", "a", "x"], "media": pa.nulls(3, schema.MEDIA), "n": [1, 2, 3]})
    table = shards.borrowed(plain, "media", lender.digest, pa.array([2, 0, None], pa.int32()))
    return lake, lender, replace(shards.write(lake, "shards/gather/a", table), lender=lender.name)


def test_a_borrowed_column_is_read_from_its_lender(lending):
    lake, _, receipt = lending
    table = shards.read(lake, receipt)
    assert table.column_names == ["id", "media", "n"] and table.schema.field("media").type == schema.MEDIA
    assert [media and media["path"] for media in table["media"].to_pylist()] == ["2.png", "0.png", None]
    part = shards.read(lake, receipt, ["n", "media.path"])
    assert part.column_names == ["n", "media"] and part["media"].to_pylist() == [
        {"path": "2.png"},
        {"path": "0.png"},
        None,
    ]
    assert shards.read(lake, receipt, ["id"])["id"].to_pylist() == ["c", "a", "x"]


def test_a_lender_that_is_gone_or_another_is_damage(lending):
    lake, lender, receipt = lending
    for wrong in ("", "shards/render/b"):
        with pytest.raises(DamagedError, match="shards/gather/a needs"):
            shards.read(lake, replace(receipt, lender=wrong))
    other = shards.write(lake, "shards/render/other", pa.table({"media": pa.nulls(5, schema.MEDIA)}))
    with pytest.raises(DamagedError, match="is not what it was"):
        shards.read(lake, replace(receipt, lender=other.name))
    lake.delete(lender.name)
    with pytest.raises(DamagedError, match="is gone"):
        shards.read(lake, receipt)


def test_what_borrows_is_named_by_the_lenders_content(lending):
    """Not by its name: the same pictures under another key change nothing that is made of them."""
    lake, lender, receipt = lending
    again = shards.write(lake, "shards/render/again", shards.read(lake, lender))
    assert again.digest == lender.digest
    assert shards.read(lake, replace(receipt, lender=again.name)).equals(shards.read(lake, receipt))


def numbered(store: Store, count: int) -> list[Receipt]:
    """Shards that say which they are."""
    return [shards.write(store, f"shards/x/{n}.parquet", pa.table({"n": [n], "m": [n]})) for n in range(count)]


@pytest.mark.parametrize("ahead", [1, 4, 9])
def test_each_comes_in_order_however_many_are_read_ahead(store: Store, ahead: int):
    receipts = numbered(store, 7)
    assert [table["n"][0].as_py() for table in shards.each(store, receipts, ahead=ahead)] == [*range(7)]
    assert all(table.column_names == ["m"] for table in shards.each(store, receipts, ["m"], ahead=ahead))
    assert [*shards.each(store, [])] == []


def test_who_stops_early_reads_no_more_than_what_was_under_way(store: Store):
    receipts, seen = numbered(store, 7), Faulty(store)
    tables = shards.each(seen, receipts)
    next(tables)
    tables.close()
    assert seen.done.count("read") <= 3


def test_a_damaged_one_is_an_error_after_those_before_it(store: Store):
    receipts = numbered(store, 3)
    store.delete(receipts[1].name)
    store.create(receipts[1].name, b"else")
    tables = shards.each(store, receipts)
    assert next(tables)["n"][0].as_py() == 0
    with pytest.raises(DamagedError, match=receipts[1].name):
        next(tables)
