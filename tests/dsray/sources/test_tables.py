"""dsray.sources.tables: Parquet, CSV and JSON lines, whole and damaged."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dsray.collection import Files
from dsray.sources import files, tables
from dsray.sources.rows import table

CONFIG = {"media": "image", "texts": {"caption": "said"}}


def rows_of(path: Path, **more) -> list[dict]:
    config = Files(path=str(path), **{**CONFIG, **more})
    found = [row for piece in files.pieces(config) for row in tables.rows(piece, "s", config)]
    assert len({row["id"] for row in found}) == len(found)
    assert table(found, config.texts).num_rows == len(found)
    return found


def brief(found: list[dict]) -> list[tuple]:
    return [
        (row["url"].rpartition("#")[2], row["payload"], row["caption"])
        if row.get("payload") is not None
        else (row["url"].rpartition("#")[2], json.loads(row["evidence"])["signal"])
        for row in found
    ]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([b"x", None, b""]),
        pa.array([{"bytes": b"x", "path": "a"}, {"bytes": None, "path": "b"}, {"bytes": b"", "path": None}]),
        pa.array(["x", None, ""]),
    ],
    ids=["bytes", "struct", "text"],
)
def test_payloads_are_bytes_structs_or_text(tmp_path, column):
    pq.write_table(pa.table({"image": column, "said": [1, 2, None], "other": [0, 0, 0]}), tmp_path / "a.parquet")
    assert brief(rows_of(tmp_path)) == [("row=0", b"x", "1"), ("row=1", "media"), ("row=2", b"", None)]


def test_parquet_is_read_by_row_groups(tmp_path, monkeypatch):
    data = pa.table({"image": [b"%d" % n * 100 for n in range(100)], "said": [str(n) for n in range(100)]})
    pq.write_table(data, tmp_path / "a.parquet", row_group_size=10)
    config = Files(path=str(tmp_path), **CONFIG)
    assert len(files.pieces(config)) == 1
    monkeypatch.setattr(tables, "PIECE_BYTES", 6000)
    assert 3 < len(files.pieces(config)) <= 10
    found = rows_of(tmp_path)
    assert [row["url"].rpartition("=")[2] for row in found] == [str(n) for n in range(100)]
    assert [row["payload"] for row in found] == data["image"].to_pylist()


def test_a_damaged_row_group_loses_its_own_rows_only(tmp_path):
    data = pa.table({"image": [b"%03d" % n * 50 for n in range(30)], "said": ["a"] * 30})
    path = tmp_path / "a.parquet"
    pq.write_table(data, path, row_group_size=10, use_dictionary=False, compression="zstd")
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    broken = bytearray(path.read_bytes())
    broken[start : start + 40] = b"\xff" * 40
    path.write_bytes(bytes(broken))
    found = rows_of(tmp_path)
    assert len(found) == 30
    assert [row["url"].rpartition("=")[2] for row in found if row.get("error")] == [str(n) for n in range(10, 20)]


def test_truncated_parquet_is_a_row(tmp_path):
    pq.write_table(pa.table({"image": [b"x"], "said": ["a"]}), tmp_path / "a.parquet")
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-9])
    (tmp_path / "b.parquet").write_bytes(b"")
    assert [signal for _, signal in brief(rows_of(tmp_path))] == ["table", "table"]


def test_csv_records_and_those_that_are_none(tmp_path):
    lines = [
        b"said,image,x",
        b'a,"one\ntwo",1',
        b"b,short",
        b"",
        b"c\xff,bad,1",
        b"d,\xc3\xa4,1",
        b'e,"open,1',
        b"f,g,1",
    ]
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + b"\n".join(lines))
    assert brief(rows_of(tmp_path)) == [
        ("row=0", b"one\ntwo", "a"),
        ("row=1", "columns"),
        ("row=2", "text"),
        ("row=3", "ä".encode(), "d"),
        ("row=4", "columns"),  # the open quote took the rest
    ]


def test_json_lines_and_those_that_are_none(tmp_path):
    lines = [b'{"image": "x", "said": {"b": 1}}', b"", b"[1]", b'{"said": "no media"}', b'{"image": 5}', b"\xff",
             b'{"image": "\\ud800"}', b"[" * 100_000, b'{"image": "y"}', b'{"image": "cut']  # fmt: skip
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    assert brief(rows_of(tmp_path)) == [
        ("row=0", b"x", '{"b": 1}'), ("row=1", "json"), ("row=2", "media"), ("row=3", "media"), ("row=4", "json"),
        ("row=5", "text"), ("row=6", "json"), ("row=7", b"y", None), ("row=8", "json"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["a.csv.gz", "a.jsonl.gz"])
def test_truncated_gzip_keeps_what_came_before(tmp_path, name):
    line = {"a.csv.gz": "{0},{0}\n", "a.jsonl.gz": '{{"image": "{0}", "said": "{0}"}}\n'}[name]
    start = "image,said\n" if "csv" in name else ""
    whole = gzip.compress((start + "".join(line.format(n * 7919 % 10**9) for n in range(30000))).encode())
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    found = brief(rows_of(tmp_path))
    assert len(found) > 1000 and all(len(row) == 3 for row in found[:1000])
    assert found[-1][1] == "table"


def test_a_missing_column_is_a_row(tmp_path):
    (tmp_path / "a.csv").write_text("image\nx\n")
    pq.write_table(pa.table({"said": ["a"]}), tmp_path / "b.parquet")
    (tmp_path / "c.csv").write_text("")
    found = rows_of(tmp_path)
    assert [json.loads(row["evidence"])["value"] for row in found] == ["said", "image", "image, said"]


def test_a_table_beside_media_is_a_row_that_says_so(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "a.csv").write_text("image\nx\n")
    config = Files(path=str(tmp_path))
    media, tabled = files.pieces(config)
    assert (media.reader, tabled.reader) == ("files", "tables")
    (row,) = tables.rows(tabled, "s", config)
    assert row["error"] == "invalid"


def test_tables_on_s3(s3):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"image": [b"x"], "said": ["a"]}), sink)
    s3.create("in/a.parquet", sink.getvalue().to_pybytes())
    s3.create("in/b.jsonl", b'{"image": "y"}')
    assert brief(rows_of(f"{s3.url}/in")) == [("row=0", b"x", "a"), ("row=0", b"y", None)]
