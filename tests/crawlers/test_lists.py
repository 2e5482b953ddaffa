"""crawlers.lists: Parquet, CSV, TSV, gzip and text say the same; what cannot be read is one clear error."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from crawlers.lists import batches
from dsray.errors import SourceError

ROWS = {"id": [1, 2], "url": ["http://a/1", "http://a/2"], "text": ['a, "b"\nc', None]}


def parquet(path: Path) -> None:
    pq.write_table(pa.table(ROWS), path)


def csv(path: Path, delimiter: str = ",") -> None:
    pa_csv.write_csv(pa.table(ROWS), path, pa_csv.WriteOptions(delimiter=delimiter))


def packed(path: Path) -> None:
    plain = path.with_suffix("")
    csv(plain, "\t" if ".tsv" in path.name else ",")
    path.write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()


WRITERS: dict[str, Callable[[Path], None]] = {
    "x.parquet": parquet, "x.pq": parquet, "x.csv": csv, "x.tsv": lambda path: csv(path, "\t"), "x.csv.gz": packed,
    "x.tsv.gz": packed,
}  # fmt: skip


def read(path: Path, *columns: str) -> list[tuple[str, ...]]:
    return [tuple(row[name] for name in columns) for _, batch in batches(str(path), columns)
            for row in batch.to_pylist()]  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_rows(name, tmp_path):
    WRITERS[name](tmp_path / name)
    (first, second) = read(tmp_path / name, "url", "text")
    assert first == ("http://a/1", 'a, "b"\nc') and second[0] == "http://a/2" and not second[1]
    assert [str(one) for (one,) in read(tmp_path / name, "id")] == ["1", "2"]


def test_numbers_in_csv_stay_as_they_are_written(tmp_path):
    (tmp_path / "x.csv").write_text("url,text\nhttp://a/1,007\n")
    assert read(tmp_path / "x.csv", "url", "text") == [("http://a/1", "007")]


def test_text_is_a_url_a_line(tmp_path):
    (tmp_path / "x.txt").write_text("http://a/1\r\n\n  http://a/2  \n")
    assert read(tmp_path / "x.txt", "url") == [("http://a/1",), ("http://a/2",)]
    with pytest.raises(SourceError, match="'text'"):
        read(tmp_path / "x.txt", "url", "text")


def test_a_folder_gives_all_its_files_by_name(tmp_path):
    for name in ("a.parquet", "b.csv"):
        WRITERS["x" + Path(name).suffix](tmp_path / name)
    (tmp_path / "c.txt").write_text("http://a/3\n")
    found = [(name.rsplit("/", 1)[1], batch.num_rows) for name, batch in batches(str(tmp_path), ["url"])]
    assert found == [("a.parquet", 2), ("b.csv", 2), ("c.txt", 1)]


@pytest.mark.parametrize("name", WRITERS)
def test_a_missing_column_is_named_with_those_that_are_there(name, tmp_path):
    WRITERS[name](tmp_path / name)
    with pytest.raises(SourceError, match="'link'; it has id, url, text"):
        read(tmp_path / name, "link")


@pytest.mark.parametrize("name", ["x.parquet", "x.csv.gz", "x.txt"])
def test_a_file_that_is_not_what_its_name_says_is_an_error_that_names_it(name, tmp_path):
    (tmp_path / name).write_bytes(b"\xff\xfe\x00junk")
    with pytest.raises(SourceError, match=name):
        read(tmp_path / name, "url")


def test_a_list_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(SourceError):
        read(tmp_path / "none.csv", "url")
