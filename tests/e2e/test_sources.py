"""One dataset from every way in: the web, a folder, an archive, a table, a WARC, a database, a Hugging Face dataset."""

import io
import sqlite3
import tarfile
from collections import Counter
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from fetching import AGENT, ITEM, Site, image, page
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from dsray import build, dataset, recipe
from dsray.lake import shards
from rows import drawing, png
from runs import Silent, lake

EACH = 5


def pictures(number: int) -> list[bytes]:
    """Pictures that no other source has."""
    return [png(drawing(100 * number + at, 48)) for at in range(EACH)]


def folder_of(root: Path) -> None:
    for at, body in enumerate(pictures(1)):
        (root / f"class-{at % 2}").mkdir(parents=True, exist_ok=True)
        (root / f"class-{at % 2}" / f"{at}.png").write_bytes(body)


def tar_of(path: Path) -> None:
    with tarfile.open(path, "w") as tar:
        for at, body in enumerate(pictures(2)):
            for name, data in ((f"{at:04d}.png", body), (f"{at:04d}.txt", b"class-tar")):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def warc_of(path: Path) -> None:
    with path.open("wb") as file:
        writer = WARCWriter(file, gzip=True)
        for at, body in enumerate(pictures(4)):
            headers = StatusAndHeaders("200 OK", [("Content-Type", "image/png")], protocol="HTTP/1.1")
            url = f"http://archived.example/{at}.png"
            writer.write_record(
                writer.create_warc_record(url, "response", payload=io.BytesIO(body), http_headers=headers)
            )


def database_of(path: Path) -> None:
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE pictures (id INTEGER PRIMARY KEY, body BLOB, kind TEXT)")
        base.executemany("INSERT INTO pictures VALUES (?, ?, 'class-sql')", enumerate(pictures(5)))
    base.close()


def hub_of(path: Path) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["class-hub"])})
    rows = {"image": [{"bytes": body, "path": None} for body in pictures(6)], "label": [0] * EACH}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(path))


def test_seven_ways_into_one_release(ray_session, tmp_path: Path):
    web = {f"/{at}.png": image(body) for at, body in enumerate(pictures(0))}
    site = Site({"/": page(*web), **web})
    folder_of(tmp_path / "folder")
    tar_of(tmp_path / "set.tar")
    pq.write_table(pa.table({"body": pictures(3), "kind": ["class-table"] * EACH}), tmp_path / "table.parquet")
    warc_of(tmp_path / "old.warc.gz")
    database_of(tmp_path / "base.sqlite")
    hub_of(tmp_path / "hub")
    crawl = {"start": [site.url], "item": ITEM, "user_agent": AGENT, "allow_private": True}
    said = {
        "dataset": "many",
        "collect": {
            "web": {"crawl": crawl},
            "folder": {"files": {"path": str(tmp_path / "folder"), "texts": {"kind": "folder"}}},
            "archive": {"files": {"path": str(tmp_path / "set.tar"), "texts": {"kind": "txt"}}},
            "table": {"files": {"path": str(tmp_path / "table.parquet"), "media": "body", "texts": {"kind": "kind"}}},
            "warc": {"warc": {"path": str(tmp_path / "old.warc.gz")}},
            "base": {"sql": {"database": f"sqlite:///{tmp_path}/base.sqlite", "query": "SELECT * FROM pictures",
                             "key": "id", "media": "body", "texts": {"kind": "kind"}}},
            "hub": {"hub": {"path": str(tmp_path / "hub"), "media": "image", "texts": {"kind": "label"}}},
        },
        "label": [{"pattern": {"column": "kind", "regex": "(class-.*)"}},
                  {"pattern": {"column": "caption", "regex": "(digit)"}},
                  {"pattern": {"column": "source", "regex": "(warc)"}}],
        "render": {"side": 32, "mode": "L"},
    }  # fmt: skip
    with lake(tmp_path / "lake") as store:
        build.run(recipe.model().model_validate(said), store, Silent())
        version = dataset.find(store, "many")
        rows = [row for receipt in version.shards() for row in shards.read(store, receipt).to_pylist()]
        again = Silent()
        build.run(recipe.model().model_validate(said), store, again, recrawl="all")
    site.close()
    names = {"web", "folder", "archive", "table", "warc", "base", "hub"}
    assert Counter(row["source"] for row in rows) == dict.fromkeys(names, EACH)
    kinds = {row["source"]: row["kind"] for row in rows}
    assert kinds["web"] is kinds["warc"] is None
    assert kinds["archive"] == "class-tar" and kinds["base"] == "class-sql" and kinds["hub"] == "class-hub"
    assert {row["kind"] for row in rows if row["source"] == "folder"} == {"class-0", "class-1"}
    assert len({row["url"] for row in rows}) == 7 * EACH
    made = [step for step, reused in again.steps if not reused]
    assert made == ["collect"], "nothing changed, so asking all sources anew makes nothing else again"
