"""ingest on a real Ray: a shard each piece, unchanged ones adopted, and a whole build of what is no web."""

import io
import json
import os
import sqlite3
import tarfile
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from database import SECRET
from dsray import build, recipe
from dsray.collection import Source
from dsray.errors import SourceError
from dsray.lake import shards
from dsray.sources.piece import Piece
from dsray.stages import ingest
from dsray.stages.child import in_child
from dsray.stages.step import Progress, Work
from rows import drawing, png
from runs import Silent, dsray

pytestmark = pytest.mark.usefixtures("ray_session")

TEXTS = ["caption", "other"]


def silent(done, total, note):
    pass


@pytest.fixture
def work(store) -> Work:
    said = recipe.parse("dataset: d\ncollect: {mine: {files: {path: x}}}\n")
    return Work(said, store, Progress(silent))


def run(source: dict, work: Work) -> tuple[list[shards.Receipt], dict[str, int]]:
    return ingest.run("mine", Source.model_validate(source), work, TEXTS)


def rows_of(work: Work, receipts: list[shards.Receipt]) -> list[dict]:
    return [row for receipt in receipts for row in shards.read(work.store, receipt).to_pylist()]


def test_a_second_ingest_reads_nothing(work, tmp_path, monkeypatch):
    folder = tmp_path / "in"
    folder.mkdir()
    for n in range(20):
        (folder / f"{n}.jpg").write_bytes(b"%d" % n)
        (folder / f"{n}.txt").write_text(f"c{n}")
    monkeypatch.chdir(tmp_path)
    said = {"files": {"path": "in", "texts": {"caption": "txt"}}}
    first, counts = run(said, work)
    assert counts == {"pieces": len(first), "read": 20, "failed": 0}
    rows = rows_of(work, first)
    assert list(rows[0])[-2:] == TEXTS and {row["other"] for row in rows} == {None}
    assert {(row["payload"], row["caption"]) for row in rows} == {(b"%d" % n, f"c{n}") for n in range(20)}
    for path in folder.iterdir():  # other bytes under the same stamp: who reads them would show it
        kept = path.stat()
        path.write_bytes(b"x" * kept.st_size)
        os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert run(said, work) == (first, counts)


def test_a_file_added_changed_or_removed_is_its_piece_only(work, tmp_path, monkeypatch):
    monkeypatch.setattr("dsray.sources.files.GROUP_FILES", 20)
    folder = tmp_path / "in"
    folder.mkdir()
    for n in range(60):
        (folder / f"{n:02d}.jpg").write_bytes(b"%d" % n)
    said = {"files": {"path": str(folder)}}
    seen = [{receipt.name for receipt in run(said, work)[0]}]
    assert len(seen[0]) > 5
    for change in (lambda: (folder / "30x.jpg").write_bytes(b"x"), lambda: (folder / "07.jpg").write_bytes(b"new"),
                   lambda: (folder / "41.jpg").unlink()):  # fmt: skip
        change()
        receipts, counts = run(said, work)
        assert counts["read"] == len(list(folder.glob("*.jpg")))
        seen.append({receipt.name for receipt in receipts})
        assert len(seen[-1] - seen[-2]) <= 2 and len(seen[-2] - seen[-1]) <= 2


def test_unchanged_ranges_of_a_query_are_the_same_shards(work, tmp_path):
    with sqlite3.connect(tmp_path / "x.db") as database:
        database.execute("CREATE TABLE t (id INTEGER, img BLOB, caption TEXT)")
        database.executemany("INSERT INTO t VALUES (?, ?, ?)", [(n, b"%d" % n, f"c{n}") for n in range(50)])
    said = {"sql": {"database": f"sqlite://{tmp_path}/x.db", "query": "SELECT * FROM t", "key": "id", "media": "img",
                    "texts": {"caption": "caption"}, "rows": 10}}  # fmt: skip
    first, counts = run(said, work)
    assert (len(first), counts["read"]) == (5, 50)
    assert run(said, work)[0] == first
    with sqlite3.connect(tmp_path / "x.db") as database:
        database.execute("UPDATE t SET caption = 'new' WHERE id = 23")
    now = run(said, work)[0]
    assert [a == b for a, b in zip(first, now, strict=True)] == [True, True, False, True, True]


def test_bad_records_are_counted(work, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.tar").write_bytes(b"no archive")
    (folder / "a.jsonl").write_text('{"image": "x"}\n{\n')
    pq.write_table(pa.table({"image": [b"x", None]}), folder / "a.parquet")
    receipts, counts = run({"files": {"path": str(folder), "media": "image"}}, work)
    assert counts == {"pieces": 3, "read": 2, "failed": 3}
    assert [row["error"] for row in rows_of(work, receipts)].count("invalid") == 3


def test_nothing_to_read_is_told(work, tmp_path):
    with sqlite3.connect(tmp_path / "x.db") as database:
        database.execute("CREATE TABLE t (id INTEGER, img BLOB)")
    said = {"database": f"sqlite://{tmp_path}/x.db", "query": "SELECT * FROM t", "key": "id", "media": "img"}
    with pytest.raises(SourceError, match="The source 'mine' has nothing to read"):
        run({"sql": said}, work)


def test_archived_opt_outs_are_obeyed(work, tmp_path):
    (tmp_path / "in").mkdir()
    sink = io.BytesIO()
    writer = WARCWriter(sink)
    for name, said in (("yes", "all"), ("no", "noimageai")):
        http = StatusAndHeaders("200 OK", [("Content-Type", "image/png"), ("X-Robots-Tag", said)], protocol="HTTP/1.1")
        record = writer.create_warc_record(f"http://h/{name}", "response", io.BytesIO(b"x"), http_headers=http)
        writer.write_record(record)
    (tmp_path / "in" / "a.warc.gz").write_bytes(sink.getvalue())
    receipts, counts = run({"warc": {"path": str(tmp_path / "in")}}, work)
    assert counts == {"pieces": 1, "read": 1, "failed": 1}
    yes, no = rows_of(work, receipts)
    assert (yes["payload"], no["payload"], no["digest"], no["error"]) == (b"x", None, None, "opted_out")


def test_what_matters_names_the_shard(tmp_path):
    piece = Piece("files", {}, "f")

    def name(**more) -> str:
        source = Source.model_validate({"files": {"path": "x", **more}})
        return ingest.shard_name("mine", source, piece, TEXTS)

    assert name() == name(include=["*.jpg"]), "what is taken is in the piece's fingerprint"
    assert name() != name(texts={"caption": "txt"})
    assert name().startswith("raw/mine/")


def test_a_piece_that_kills_its_process_is_a_row(monkeypatch):
    source = Source.model_validate({"files": {"path": "x"}})
    piece = Piece("files", {"samples": []}, "f").json()
    table, _ = ingest.raw(piece, name="mine", source=source, texts=TEXTS, careful=True)
    assert table.num_rows == 0 and table.column_names[-2:] == TEXTS
    monkeypatch.setattr(ingest, "in_child", lambda read, **how: in_child(partial(os._exit, 9), **how))
    table, counts = ingest.raw(piece, name="mine", source=source, texts=TEXTS, careful=True)
    assert counts == {"failed": 1}
    assert json.loads(table["evidence"][0].as_py())["signal"] == "crashed"


def test_an_error_in_a_child_is_our_own():
    piece = Piece(
        "files", {"samples": [{"media": [["a", ["file:///no", "a", 1, "s", "2026-01-01"]]], "beside": {}}]}, "f"
    )
    source = Source.model_validate({"files": {"path": "x"}})
    with pytest.raises(SourceError, match="could not be opened"):
        ingest.raw(piece.json(), name="m", source=source, texts=[], careful=True)


def test_a_lake_in_the_folder_that_is_read_is_refused(work, tmp_path):
    (tmp_path / "a.jpg").touch()
    with pytest.raises(SourceError, match="The lake lies in the folder that the source 'mine' reads"):
        run({"files": {"path": str(tmp_path)}}, work)


def tar_of(members: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def test_a_build_of_files_and_a_database(store, tmp_path: Path):
    """Real Ray, two sources, all stages to the release: every row that was read is kept or in quarantine."""
    (tmp_path / "in").mkdir()
    members = {f"{n:03d}.{e}": data for n in range(60)
               for e, data in (("png", png(drawing(n))), ("txt", b"digit %d" % (n % 10)))}  # fmt: skip
    (tmp_path / "in" / "a.tar").write_bytes(tar_of({**members, "bad.png": b"no image"}).rstrip(b"\0"))
    with sqlite3.connect(tmp_path / "x.db") as database:
        database.execute("CREATE TABLE t (id INTEGER, img BLOB, caption TEXT)")
        more = [(n, png(drawing(n)), f"digit {n % 10}") for n in range(100, 140)]
        database.executemany("INSERT INTO t VALUES (?, ?, ?)", more)
    said = recipe.parse(f"""\
dataset: mixed
collect:
  archive: {{files: {{path: '{tmp_path}/in', texts: {{caption: txt}}}}}}
  database: {{sql: {{database: 'sqlite://{tmp_path}/x.db', query: SELECT * FROM t, key: id, media: img,
                     texts: {{caption: caption}}, rows: 25}}}}
label: [{{pattern: {{column: caption, regex: "digit (\\\\d)"}}}}]
render: {{side: 28, mode: L}}
""")
    outcome = build.run(said, store, Silent())
    counts = outcome.made["collect"].counts
    assert counts["kept"] == 60 + 40 + 2, "bad.png, and the place where the archive breaks off"
    assert outcome.made["select"].counts["in"] == 102
    assert outcome.made["release"].counts["in"] > 60
    again = build.run(said, store, Silent(), recrawl=True)
    assert set(again.made) - again.reused == {"collect"}, "asked anew, nothing new: all else is as it was"
    assert [r.name for r in again.made["collect"].shards] == [r.name for r in outcome.made["collect"].shards]


def test_a_run_on_postgresql_writes_its_password_nowhere(postgres, tmp_path, monkeypatch):
    """As a user runs it: the password in the environment, and then in no file, on no screen."""
    import adbc_driver_postgresql.dbapi as driver

    monkeypatch.setenv("PGPASSWORD", SECRET)
    with driver.connect(postgres) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE digits (id BIGINT, img BYTEA, caption TEXT)")
        for n in range(40):
            cursor.execute("INSERT INTO digits VALUES ($1, $2, $3)", [n, png(drawing(n)), f"digit {n % 10}"])
        connection.commit()
    (tmp_path / "r.yaml").write_text(f"""\
dataset: shop
lake: file://{tmp_path}/lake
collect:
  shop: {{sql: {{database: '{postgres}', query: SELECT * FROM digits, key: id, media: img,
                 texts: {{caption: caption}}, rows: 15}}}}
label: [{{pattern: {{column: caption, regex: "digit (\\\\d)"}}}}]
render: {{side: 28, mode: L}}
""")
    done = dsray("run", "r.yaml", cwd=tmp_path, PGPASSWORD=SECRET)
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr
    files = [path for path in (tmp_path / "lake").rglob("*") if path.is_file()]
    assert len([path for path in files if "/raw/shop/" in str(path) and path.suffix == ".parquet"]) == 3
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
