"""replay: every row of a lake comes out as it was made, and what is not as it was is told."""

import shutil
from dataclasses import asdict, replace

import pyarrow as pa
import pytest

from dsray import cli
from dsray.lake import lookup, shards
from dsray.lake.store import open_store
from dsray.stages import render
from dsray.stages.release import release_table
from dsray.trace.builds import Build, builds
from dsray.trace.replay import replay
from dsray.trace.trail import Trail, find


def build_of(store, name) -> Build:
    return next(one for one in builds(store) if one.name == name)


def ids(store, build, step):
    return [row for receipt in build.shards(step) for row in shards.read(store, receipt, ["id"])["id"].to_pylist()]


def checked(store, row, inside=None):
    return {check.what: check for check in replay(store, find(store, row, inside))}


@pytest.mark.parametrize(("name", "step", "rows"), [
    ("shapes@v1", "augment", 10), ("shapes@v2", "augment", 10), ("shapes, not released", "synthesize gan", 70),
])  # fmt: skip
def test_what_is_made_of_rows_is_made_again_to_the_byte(made, name, step, rows):
    for row in ids(made.store, build_of(made.store, name), step)[-rows:]:
        checks = checked(made.store, row, name if "@" in name else None)
        assert checks["media"].equal, checks


def test_a_kept_row_is_decoded_measured_labelled_and_judged_again(made):
    build = build_of(made.store, "shapes@v1")
    for row in ids(made.store, build, "gather")[:10]:
        checks = checked(made.store, row)
        assert [*checks] == ["payload", "facts", "media", "label", "verdict"]
        assert all(check.equal for check in checks.values()), checks
        assert checks["media"].words.split(", as in ")[1].startswith("releases/shapes/v2/")


@pytest.mark.parametrize("rule", ["undecodable", "min_side", "blur", "exact_duplicate"])
def test_a_verdict_follows_from_the_rows_facts_or_is_left_to_the_others(made, rule):
    build = build_of(made.store, "shapes@v1")
    (place,) = lookup.find(made.store, build.shards("select"), "rule", rule)
    row = lookup.one(made.store, place.shard, place.row, ["id"])["id"]
    checks = checked(made.store, row)
    assert checks["verdict"].words.startswith(rule)
    assert checks["verdict"].equal is (None if "duplicate" in rule else True)
    assert checks["media"].equal and checks["facts"].equal and checks["payload"].equal


def test_a_synthetic_row_of_a_release_has_its_classs_number(made):
    """And is drawn from it all the same."""
    build = build_of(made.store, "shapes, not released")
    samples = shards.read(made.store, build.shards("synthesize gan")[0])
    params = {"classes": ["a", "b"], "kind": "image", "columns": [], "texts": [], "shape": None}
    receipt = shards.write(made.store, "releases/shapes/v9/train/gan-00000-of-00001.parquet",
                           release_table(samples, params))  # fmt: skip
    said = {"classes": ["a", "b"], "kind": "image", "shards": [asdict(receipt)]}
    released = replace(build, number=9, release=said)
    for place in lookup.find(made.store, released.files, "id", "", prefix=True)[:5]:
        (check,) = replay(made.store, Trail(place.value, released, [released], [place]))
        assert check.equal and "v9" in check.words


def test_bytes_that_differ_are_told_and_are_an_exit_code(made, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(render, "VERSION", 99)
    shutil.copytree(made.store.url.removeprefix("file://"), tmp_path / "lake")
    store = open_store(f"file://{tmp_path}/lake")
    build = build_of(store, "shapes@v2")
    receipt = next(one for one in build.files if "/train/real-" in one.name)
    table = shards.read(store, receipt)
    media = table["image"].to_pylist()
    media[0], media[1] = media[1], media[0]
    store.delete(receipt.name)
    shards.write(store, receipt.name, table.set_column(1, "image", pa.array(media, table["image"].type)))
    first, _, third = table["id"].to_pylist()[:3]
    assert cli.main(["trace", third, "--replay", "--lake", store.url]) == 0
    assert f"replayed: {len(media[2]['bytes'])} bytes, equal" in capsys.readouterr().out
    assert cli.main(["trace", first, "--replay", "--lake", store.url]) == 1
    told = capsys.readouterr().out
    assert "render is of version 99 here" in told
    assert "NOT EQUAL" in told and "differ from the" in told and receipt.name in told.replace("\n", "")
