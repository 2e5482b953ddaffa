"""dsray.sources.archives: WebDataset's samples and other archives, whole and damaged."""

import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest

from dsray.collection import Files
from dsray.sources import archives, files
from dsray.sources.rows import table

TEXTS = {"caption": "txt", "author": "json.by", "label_is": "cls"}


def tar_of(members: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def zip_of(members: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return sink.getvalue()


def rows_of(path: Path, texts: dict[str, str] = TEXTS) -> list[dict]:
    config = Files(path=str(path), texts=texts)
    found = [row for piece in files.pieces(config) for row in archives.rows(piece, "s", config)]
    assert len({row["id"] for row in found}) == len(found)
    assert table(found, texts).num_rows == len(found)
    return found


def signals(found: list[dict]) -> list[tuple[str, str]]:
    said = [(row["url"].rpartition("#")[2].rpartition("/")[2], row.get("evidence")) for row in found]
    return [(place, json.loads(evidence)["value"]) for place, evidence in said if evidence]


SAMPLES = {
    "a/0001.jpg": b"one", "a/0001.txt": b"first", "a/0001.json": b'{"by": "Jo"}', "a/0001.cls": b"7",
    "a/0002.jpg": b"two", "a/0003.seg.png": b"three", "a/0003.txt": b"third",
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.tar", tar_of(SAMPLES)),
        ("x.tar.gz", gzip.compress(tar_of(SAMPLES))),
        ("x.tgz", gzip.compress(tar_of(SAMPLES))),
        ("x.zip", zip_of(SAMPLES)),
    ],
    ids=["tar", "tar.gz", "tgz", "zip"],
)
def test_files_of_one_key_belong_together(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    found = rows_of(tmp_path)
    assert [(r["url"], r["payload"], r["caption"], r["author"], r["label_is"]) for r in found] == [
        (f"file://{tmp_path}/{name}#a/0001.jpg", b"one", "first", "Jo", "7"),
        (f"file://{tmp_path}/{name}#a/0002.jpg", b"two", None, None, None),
        (f"file://{tmp_path}/{name}#a/0003.seg.png", b"three", "third", None, None),
    ]


def test_links_devices_and_doubles_are_rows(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, kind in (
            ("passwd.jpg", tarfile.SYMTYPE),
            ("hard.jpg", tarfile.LNKTYPE),
            ("null.jpg", tarfile.CHRTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        for _ in range(2):
            info = tarfile.TarInfo("../../up.jpg")
            info.size = 2
            archive.addfile(info, io.BytesIO(b"up"))
    found = rows_of(tmp_path)
    assert signals(found) == [("passwd.jpg", "a link or device"), ("hard.jpg", "a link or device"),
                              ("null.jpg", "a link or device"), ("up.jpg", "twice")]  # fmt: skip
    assert [row["payload"] for row in found if row.get("payload")] == [b"up"]


@pytest.mark.parametrize("packed", [False, True])
def test_a_tar_that_breaks_off_keeps_what_came_before(tmp_path, packed):
    members = {f"{n}.jpg": bytes([n]) * 700 for n in range(5)}
    data = tar_of(members)[: 5 * 1536]
    name = "x.tar.gz" if packed else "x.tar"
    for cut in range(0, len(data), 97):
        whole = gzip.compress(data[:cut]) if packed else data[:cut]
        (tmp_path / name).write_bytes(whole)
        found = rows_of(tmp_path)
        kept = [row["payload"] for row in found if row.get("payload")]
        assert kept == list(members.values())[: len(kept)] and len(kept) >= (cut - 836) // 1536
        assert len(signals(found)) >= 1, cut


def test_broken_gzip_and_zip_are_rows(tmp_path):
    packed = gzip.compress(tar_of(SAMPLES))
    (tmp_path / "a.tar.gz").write_bytes(packed[: len(packed) // 2])
    (tmp_path / "b.tar.gz").write_bytes(b"no gzip")
    (tmp_path / "c.zip").write_bytes(b"no zip")
    data = bytearray(zip_of({"1.jpg": b"x" * 50, "2.jpg": b"y" * 50}))
    data[data.index(b"1.jpg") + 7] ^= 0xFF
    (tmp_path / "d.zip").write_bytes(bytes(data))
    (tmp_path / "e.tar").write_bytes(b"")
    found = rows_of(tmp_path)
    assert {row["url"].rpartition("/")[2] for row in found if row.get("error")} == {
        "a.tar.gz", "b.tar.gz", "c.zip", "d.zip#1.jpg", "e.tar",
    }  # fmt: skip
    assert [row["url"].rpartition("#")[2] for row in found if row["url"].endswith("2.jpg")] == ["2.jpg"]


def test_a_bomb_is_refused_without_being_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_UNPACKED", 2_000_000)
    (tmp_path / "x.zip").write_bytes(zip_of({"1.jpg": bytes(1_500_000), "2.jpg": bytes(1_500_000), "3.jpg": b"x"}))
    assert signals(rows_of(tmp_path)) == [("2.jpg", "size")]
    monkeypatch.setattr(archives, "MOST_MEMBERS", 2)
    assert signals(rows_of(tmp_path))[-1] == ("x.zip", "more than 2 members")


def test_a_sidecar_that_is_none_is_a_row(tmp_path):
    (tmp_path / "x.tar").write_bytes(
        tar_of({"1.jpg": b"x", "1.json": b"{", "2.txt": b"alone", "3.jpg": b"y", "3.json": b"[" * 10**6})
    )
    assert {place for place, _ in signals(rows_of(tmp_path))} == {"1.jpg", "2.txt", "3.jpg"}


def test_parts_of_a_large_archive_are_the_whole(tmp_path, monkeypatch):
    (tmp_path / "x.tar").write_bytes(tar_of({f"{n}.{e}": b"%d" % n for n in range(60) for e in ("jpg", "txt")}))
    whole = rows_of(tmp_path)
    monkeypatch.setattr(archives, "PART_BYTES", 20_000)
    config = Files(path=str(tmp_path), texts=TEXTS)
    assert len(files.pieces(config)) > 2
    parts = rows_of(tmp_path)
    assert sorted(parts, key=lambda row: row["id"]) == sorted(whole, key=lambda row: row["id"])


def test_an_archive_on_s3(s3):
    s3.create("in/x.tar", tar_of(SAMPLES))
    config = Files(path=f"{s3.url}/in", texts=TEXTS)
    (piece,) = files.pieces(config)
    assert next(row["url"] for row in archives.rows(piece, "s", config)) == f"{s3.url}/in/x.tar#a/0001.jpg"
