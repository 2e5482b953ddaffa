"""story: where a row came from, what was said of it, and what was made of it, by columns of the lake itself."""

import json
from dataclasses import replace

import pytest

from dsray.errors import DsrayError
from dsray.lake import lookup, shards
from dsray.lake.shards import Receipt
from dsray.trace.builds import builds
from dsray.trace.story import File, tell, trace
from dsray.trace.trail import find


@pytest.fixture(scope="module")
def lake(made):
    return {one.name: one for one in builds(made.store)}


def release(made, build, origin):
    return [row for one in build.files if f"/{origin}-" in one.name for row in shards.read(made.store, one).to_pylist()]


def test_a_real_row_knows_what_came_of_it(made, lake):
    augmented = release(made, lake["shapes@v2"], "augmented")
    parent = augmented[0]["parent"]
    story = trace(made.store, parent)
    assert (story.origin, story.build) == ("real", "shapes@v2")
    (row,) = story.real
    assert row.raw["url"].startswith(f"file://{made.folder}/") and row.raw["id"] == parent
    assert row.label["votes"][0]["source"] == "column:folder" and row.label["label"] in "ab"
    assert row.verdict["kept"] and row.verdict["split"] == "train"
    assert {one["id"] for one in row.copies if one["as"] == "parent"} == {
        one["id"] for one in augmented if one["parent"] == parent
    }
    assert {one["id"] for one in row.copies if one["as"] == "mixed in"} == {
        one["id"] for one in augmented if one["mixed"]["parent"] == parent
    }
    assert [(one["release"], one["split"]) for one in story.releases] == [
        ("shapes@v1", "train"),
        ("shapes@v2", "train"),
    ]
    assert [(one["name"], one["builds"]) for one in story.models] == [("gan", ["shapes, not released"])]
    assert story.stages["select"] == lake["shapes@v2"].made["select"].key


def test_a_row_held_out_taught_no_model(made, lake):
    held = next(one for one in lake["shapes@v2"].files if "/test/" in one.name)
    row = shards.read(made.store, held, ["id"])["id"][0].as_py()
    assert trace(made.store, row).models == []


def test_a_mixed_row_has_two_parents(made, lake):
    row = release(made, lake["shapes@v2"], "augmented")[3]
    story = trace(made.store, row["id"])
    assert story.origin == "augmented"
    assert [one.id for one in story.real] == [row["parent"], row["mixed"]["parent"]]
    assert story.sample["transform"] == json.loads(row["transform"])
    assert story.sample["mixed"]["share"] == row["mixed"]["share"] and story.sample["mixed"]["label"] in "ab"


def test_a_synthetic_row_names_model_and_training_set(made, lake):
    build = lake["shapes, not released"]
    place = lookup.find(made.store, build.shards("synthesize gan"), "id", "", prefix=True)[7]
    story = trace(made.store, place.value)
    training = build.made["train gan"]
    assert (story.origin, story.build, story.real) == ("synthetic", build.name, [])
    assert (story.model["key"], story.model["digest"]) == (training.key, training.shards[0].digest)
    assert story.model["numbers"]["images"] == 64 and story.model["gather"] == build.made["gather"].key
    rows = shards.read(made.store, Receipt(**training.details["learned"]["rows"]), ["id"])["id"].to_pylist()
    assert (story.model["training_rows"], story.model["training_set"]) == (
        len(rows),
        f"models/{training.key}/rows.parquet",
    )
    assert all(trace(made.store, row).models[0]["key"] == training.key for row in rows[:3])
    assert (story.sample["index"], story.sample["seed"], story.sample["transform"]) == (7, 3, {"truncation": 0.8})
    assert story.releases == []


def test_a_model_that_began_as_another_learned_through_it(made, lake):
    build = lake["shapes, not released"]
    training = build.made["train gan"]
    heir = replace(training, key="f" * 64, params={**training.params, "parent": training.key}, details={})
    later = replace(build, made={**build.made, "train gan": heir})
    rows = shards.read(made.store, Receipt(**training.details["learned"]["rows"]), ["id"])["id"].to_pylist()
    trail = find(made.store, rows[0])
    models = tell(made.store, replace(trail, known=[later, *trail.known])).models
    assert [(one["key"], one["through"]) for one in models] == [(training.key, None), ("f" * 64, training.key)]


def test_a_duplicate_names_those_like_it(made, lake):
    (place,) = lookup.find(made.store, lake["shapes@v2"].shards("select"), "rule", "exact_duplicate")
    story = trace(made.store, lookup.one(made.store, place.shard, place.row)["id"])
    (row,) = story.real
    assert not row.verdict["kept"] and row.cluster_rows == 1
    (other,) = row.cluster
    assert other["kept"] and other["bits"] == 0
    assert {row.raw["url"].rsplit("/", 1)[1], other["url"].rsplit("/", 1)[1]} == {"00.png", "twin.png"}
    assert story.releases == [] and row.verdict["rule"] == "exact_duplicate"


@pytest.mark.parametrize("origin", ["real", "augmented"])
def test_a_file_names_the_shards_that_fed_it(made, lake, origin):
    names = [one.name for one in lake["shapes@v2"].files if f"/{origin}-" in one.name]
    assert len(names) > 1
    file = trace(made.store, names[0] if origin == "real" else names[0].removeprefix("releases/shapes/v2/"))
    build = lake["shapes@v2"]
    assert isinstance(file, File) and file.build == "shapes@v2"
    assert sum(one["rows"] for one in file.sources) == file.rows == sum(file.labels.values())
    step = "gather" if file.origin == "real" else "augment"
    assert {one["samples"] for one in file.sources} <= {receipt.name for receipt in build.shards(step)}
    assert {one["raw"] for one in file.sources} <= {receipt.name for receipt in build.shards("collect")}


def test_a_file_that_is_not_there_is_one_sentence(made):
    with pytest.raises(DsrayError, match=r"shapes@v2 has no file train/gone-1.parquet"):
        trace(made.store, "train/gone-1.parquet")
    with pytest.raises(DsrayError, match="not made again"):
        trace(made.store, "train/real-00000-of-00002.parquet", again=True)


def test_s3_tells_the_same_story(made, lake, s3):
    for entry in made.store.list(""):
        s3.create(entry.name, made.store.read(entry.name))
    rows = [release(made, lake["shapes@v2"], origin)[0]["id"] for origin in ("real", "augmented")]
    for row in rows:
        assert trace(s3, row, again=True) == trace(made.store, row, again=True)
