"""dsray trace, as a user runs it: rows of a crawled build are told both ways, and made again to the byte."""

import json
import random
import shutil
import subprocess
import sys

import pytest

from dsray.build import run
from dsray.lake import lookup, shards
from dsray.trace import words
from dsray.trace.builds import builds, crawl_of
from dsray.trace.replay import replay
from dsray.trace.story import trace
from dsray.trace.trail import find
from dsray.upkeep import gc
from runs import Silent, dsray, lake, said


@pytest.fixture
def store(built):
    with lake(built[0]) as store:
        yield store


@pytest.fixture
def build(store):
    return next(one for one in builds(store) if one.name == "digits@v1")


def rows_of(store, build):
    return [
        row for one in build.files for row in shards.read(store, one, ["id", "origin", "parent", "url"]).to_pylist()
    ]


def test_twenty_rows_of_the_release_are_made_again_to_the_byte(store, build):
    rows = rows_of(store, build)
    for row in random.Random(7).sample(rows, 20):
        checks = {check.what: check for check in replay(store, find(store, row["id"], "digits@v1", [build]))}
        assert checks["media"].equal and "releases/digits/v1/" in checks["media"].words, (row, checks)
        assert all(check.equal for check in checks.values()), checks


RULES = ["undecodable", "dark", "blur", "min_side", "unlabelled", "near_duplicate", "exact_duplicate", "opted_out",
         "robots", "http_status"]  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_a_quarantined_row_tells_why(store, build, rule):
    place = lookup.find(store, build.shards("select"), "rule", rule)[0]
    row_id = lookup.one(store, place.shard, place.row, ["id"])["id"]
    story = trace(store, row_id, "digits@v1", again=True)
    (row,) = story.real
    assert row.verdict["rule"] == rule and not story.releases and not story.differs
    assert row.raw["url"].startswith("http://127.0.0.1") and row.crawl["number"] == 0
    assert row.crawl["round"] == 1 or row.raw["error"] in ("opted_out", "robots")  # which a crawl's end may tell
    others = {one["id"]: one for one in row.cluster}
    if rule == "near_duplicate":
        kept = others[row.verdict["cluster"]]
        assert kept["kept"] and kept["bits"] <= 2 and kept["url"] != row.raw["url"]
    if rule in ("opted_out", "robots"):
        assert row.raw["error"] == rule and row.raw["evidence"] and row.raw["digest"] is None
        assert "no payload was kept" in dict(words.row_sections(story)[1][0][1])["consent"]


def test_a_url_a_parent_and_a_child_lead_to_each_other(store, build):
    child = next(row for row in rows_of(store, build) if row["origin"] == "augmented")
    story = trace(store, child["id"], "digits@v1")
    assert [one.id for one in story.real] == [child["parent"]] and story.real[0].raw["url"] == child["url"]
    parent = trace(store, child["url"], "digits@v1")
    assert parent.id == child["parent"] and child["id"] in {one["id"] for one in parent.real[0].copies}
    assert {one["release"] for one in parent.releases} >= {"digits@v1"}


def test_the_command_line(built, store, build, tmp_path):
    where = ("--lake", f"file://{built[0]}")
    row = next(row for row in rows_of(store, build) if row["origin"] == "real")
    told = dsray("trace", row["id"][:12], "--in", "digits@v1", "--replay", *where, cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert row["id"] in told.stdout and row["url"] in told.stdout and max(map(len, told.stdout.splitlines())) <= 120
    assert "replayed: " in told.stdout and " bytes, equal" in told.stdout
    as_json = dsray("trace", f"{row['id']}.png", "--json", *where, cwd=tmp_path)
    assert json.loads(as_json.stdout)["real"][0]["raw"]["url"] == row["url"]
    file = dsray("trace", "releases/digits/v1/train/real-00000-of-00001.parquet", *where, cwd=tmp_path)
    assert file.returncode == 0 and "came of" in file.stdout
    assert "too short" in said(dsray("trace", row["id"][:5], *where, cwd=tmp_path), 1)
    assert "No row on" in said(dsray("trace", "0" * 32, *where, cwd=tmp_path), 1)
    assert "There is no digits@v99" in said(dsray("trace", row["id"], "--in", "digits@v99", *where, cwd=tmp_path), 1)


def test_a_recrawl_that_finds_all_unchanged_leaves_a_row_to_the_crawl_that_wrote_it(built, tmp_path, ray_session):
    shutil.copytree(built[0], tmp_path / "lake")
    with lake(tmp_path / "lake") as store:
        crawled = max(builds(store)[0].shards("collect"), key=lambda receipt: receipt.rows)
        before = crawl_of(store, "gallery", crawled)
        run(built[1], store, Silent(), recrawl="all", until="collect")
        (ref,) = store.list("refs/crawls/gallery/")
        assert json.loads(store.read(ref.name))["last"] != before["folder"]
        assert crawl_of(store, "gallery", crawled) == before
        assert (before["number"], before["round"]) == (0, 1)
        gc.sweep(store, 0)
        assert crawl_of(store, "gallery", crawled) == before


def test_neither_ray_nor_scrapy_torch_or_boto3_is_imported(built, store, build):
    row = next(row for row in rows_of(store, build) if row["origin"] == "augmented")
    code = f"""import sys; from dsray.cli import main
assert main(["trace", "{row["id"]}", "--replay", "--lake", "file://{built[0]}"]) == 0
assert not {{"ray", "scrapy", "torch", "boto3"}} & {{*sys.modules}}"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_row_that_another_made_is_not_equal(built, tmp_path):
    shutil.copytree(built[0], tmp_path / "lake")
    with lake(tmp_path / "lake") as store:
        build = next(one for one in builds(store) if one.name == "digits@v1")
        file = next(one for one in build.files if "/train/real-" in one.name)
        table = shards.read(store, file)
        store.delete(file.name)
        shards.write(store, file.name, table.set_column(1, "image", table["image"].take([1, 0, *range(2, len(table))])))
        row = table["id"][0].as_py()
    told = dsray("trace", row, "--in", "digits@v1", "--replay", "--lake", f"file://{tmp_path}/lake", cwd=tmp_path)
    assert told.returncode == 1 and "NOT EQUAL" in told.stdout
