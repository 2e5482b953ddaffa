"""dsray.sources.files: folders on disk and S3, their samples, and groups that change only where something changed.

Also dsray.lake.folder, and the rows, pieces and samples that all sources share.
"""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsray import keys
from dsray.collection import Files
from dsray.errors import LakeError, SourceError
from dsray.lake import folder
from dsray.lake.folder import File
from dsray.schema import RAW
from dsray.sources import files
from dsray.sources.piece import Piece
from dsray.sources.rows import bad, damage, good, table, text_of
from dsray.sources.samples import arrange, split


def put(root: Path, **contents: bytes) -> None:
    for name, data in contents.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def rows_of(config: Files) -> list[dict]:
    return [row for piece in files.pieces(config) for row in files.rows(Piece(**piece.json()), "s", config)]


def test_a_file_is_a_row_with_its_texts(tmp_path):
    put(tmp_path, cats__1_dot_jpg=b"one", cats__1_dot_txt=b"a cat\n", cats__1_dot_json=b'{"by": {"name": "Jo"}}',
        dogs__2_dot_jpg=b"two", _dot_hidden__3_dot_jpg=b"no")  # fmt: skip
    os.utime(tmp_path / "cats/1.jpg", (1e9, 1e9))
    texts = {"caption": "txt", "author": "json.by.name", "kind_of": "folder", "file": "name", "place": "path"}
    one, two = rows_of(Files(path=str(tmp_path), texts=texts))
    digest = keys.digest(b"one")
    url = f"file://{tmp_path}/cats/1.jpg"
    assert one == {
        "id": keys.row_id("s", url, digest), "source": "s", "url": url, "headers": "{}",
        "fetched_at": datetime.fromtimestamp(1e9, UTC), "digest": digest, "payload": b"one",
        "caption": "a cat", "author": "Jo", "kind_of": "cats", "file": "1.jpg", "place": "cats/1.jpg",
    }  # fmt: skip
    assert (two["caption"], two["author"], two["kind_of"]) == (None, None, "dogs")
    made = table([one, two], texts)
    assert made.column_names == [*RAW.names, *sorted(texts)] and made.num_rows == 2


def test_what_cannot_be_read_is_a_row(tmp_path):
    put(
        tmp_path, a_dot_jpg=b"a", a_dot_json=b"{", b_dot_jpg=b"b", b_dot_txt=b"\xff", c_dot_txt=b"alone", d_dot_jpg=b"d"
    )
    (tmp_path / "broken.jpg").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.jpg")
    found = rows_of(Files(path=str(tmp_path), texts={"c": "txt", "j": "json.x"}))
    seen = {row["url"].rpartition("/")[2]: (row.get("error"), json.loads(row.get("evidence", "{}"))) for row in found}
    assert seen.pop("d.jpg") == (None, {})
    assert {name: said["signal"] for name, (error, said) in seen.items() if error == "invalid"} == {
        "a.jpg": "sidecar", "b.jpg": "sidecar", "c.txt": "media", "broken.jpg": "unreadable", "pipe.jpg": "unreadable",
    }  # fmt: skip
    assert len({row["id"] for row in found}) == 6


def test_names_of_any_bytes_are_named_exactly(tmp_path):
    odd = ["a b#c?.jpg", "50%.jpg", "ü\n.jpg", os.fsdecode(b"\xff.jpg")]
    for name in odd:
        (tmp_path / name).write_bytes(name.encode(errors="replace"))
    found = rows_of(Files(path=str(tmp_path), texts={"file": "name"}))
    assert len({row["url"] for row in found}) == 4 and not any(row.get("error") for row in found)
    assert f"file://{tmp_path}/a%20b%23c%3F.jpg" in {row["url"] for row in found}
    assert table(found, ["file"]).num_rows == 4


def test_globs_choose(tmp_path):
    put(tmp_path, a_dot_jpg=b"1", a_dot_txt=b"t", x__b_dot_jpg=b"2", x__y__c_dot_png=b"3")

    def taken(*globs: str) -> list[str]:
        return [row["payload"].decode() for row in rows_of(Files(path=f"file://{tmp_path}", include=list(globs)))]

    assert taken("**") == ["1", "2", "3"]
    assert taken("*.jpg") == ["1"]
    assert taken("**/*.jpg") == ["1", "2"]
    assert taken("x/**", "?.jpg") == ["1", "2", "3"]
    assert taken("**/[bc].*") == ["2", "3"]
    assert taken("**/[!b].*") == ["1", "3"]


def test_one_file_more_less_or_changed_is_one_piece(tmp_path):
    listed = {
        f"{n:05d}.jpg": File(f"file:///x/{n:05d}.jpg", f"{n:05d}.jpg", 1000, str(n), "2026-01-01") for n in range(6000)
    }

    def prints(changes: dict[str, File | None]) -> set[str]:
        now = {name: file for name, file in {**listed, **changes}.items() if file}
        samples = arrange(list(now.items()), {}, first=False)
        pieces = files.groups(samples, {file.url for file in now.values()})
        assert sum(len(piece.what["samples"]) for piece in pieces) == len(now)
        assert all(len(piece.what["samples"]) <= files.GROUP_FILES for piece in pieces)
        return {str(piece.fingerprint) for piece in pieces}

    before = prints({})
    assert 6 < len(before) < 30
    for name in ("00003.jpg", "03000.jpg", "05999.jpg"):
        assert len(prints({name: listed[name]._replace(stamp="new")}) - before) == 1
        assert len(prints({name: None}) - before) <= 1
        more = name.replace(".jpg", "x.jpg")
        assert len(prints({more: File(f"file:///x/{more}", more, 1000, "n", "2026-01-01")}) - before) <= 2


def test_large_files_make_small_pieces():
    large = [(f"{n}.jpg", File(f"file:///x/{n}.jpg", f"{n}.jpg", 30 * 2**20, "s", "2026-01-01")) for n in range(50)]
    pieces = files.groups(arrange(large, {}, first=False), {file.url for _, file in large})
    assert max(len(piece.what["samples"]) for piece in pieces) <= 2


def test_a_file_that_changes_meanwhile_stops_the_run(tmp_path):
    put(tmp_path, a_dot_jpg=b"1")
    config = Files(path=str(tmp_path))
    (piece,) = files.pieces(config)
    put(tmp_path, a_dot_jpg=b"other")
    with pytest.raises(SourceError, match="was changed while it was read"):
        list(files.rows(piece, "s", config))


def test_nothing_there_or_a_table_without_a_column_is_told(tmp_path):
    with pytest.raises(SourceError, match="There are no files at file:///"):
        files.pieces(Files(path=str(tmp_path / "none")))
    with pytest.raises(SourceError, match="'http://' cannot be read"):
        files.pieces(Files(path="http://host/x"))
    put(tmp_path, a_dot_csv=b"x\n1\n")
    with pytest.raises(SourceError, match="Add `media: column`"):
        files.pieces(Files(path=str(tmp_path)))


def test_s3_is_a_folder_too(s3, tmp_path):
    for name in ("in/a b/1.jpg", "in/a b/1.txt", "in/2.jpg", "inner/3.jpg"):
        s3.create(name, name.encode())
    found = rows_of(Files(path=f"{s3.url}/in", texts={"caption": "txt", "above": "folder"}))
    assert [(row["url"], row["payload"], row["caption"], row["above"]) for row in found] == [
        (f"{s3.url}/in/2.jpg", b"in/2.jpg", None, "in"),
        (f"{s3.url}/in/a%20b/1.jpg", b"in/a b/1.jpg", "in/a b/1.txt", "a b"),
    ]
    (alone,) = rows_of(Files(path=f"{s3.url}/in/2.jpg"))
    assert alone["payload"] == b"in/2.jpg"
    (file,) = folder.listing(f"{s3.url}/in/2.jpg")
    s3.delete("in/2.jpg")
    s3.create("in/2.jpg", b"other")
    with pytest.raises(SourceError, match="was changed"):
        folder.reader(file)


@settings(max_examples=100)
@given(st.text(min_size=1), st.booleans())
def test_a_name_is_its_key_and_extension(name, first):
    key, extension = split(name, first)
    assert name == key or name.lower() == f"{key}.{extension}".lower()
    assert "/" not in extension


def test_a_payload_and_a_failure_are_rows():
    assert good("s", "u", b"x", {}, at="u@1")["id"] != good("s", "u", b"x", {})["id"]
    assert json.loads(bad("s", "u", "size", 7)["evidence"]) == {"signal": "size", "value": "7", "where": "u"}
    assert [text_of(v) for v in (None, 1, True, b"\xc3\xa4", {"b": [1]})] == [None, "1", "true", "ä", '{"b": [1]}']
    assert damage(EOFError()) == "truncated"
    with pytest.raises(LakeError):
        damage(OSError(5, "Input/output error"))


def test_a_folder_that_cannot_be_listed_stops_the_run(tmp_path, monkeypatch):
    put(tmp_path, a_dot_jpg=b"1", x__b_dot_jpg=b"2")
    scandir = os.scandir

    def denied(path):
        if str(path).endswith("/x"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(SourceError, match="could not be listed: Permission denied"):
        folder.listing(str(tmp_path))
