"""trail: a row is found by what a person has of it; what is no row, or several, is one sentence."""

import pyarrow as pa
import pytest

from dsray.errors import DsrayError
from dsray.lake import lookup, shards
from dsray.lake.manifests import Manifest
from dsray.lake.store import open_store
from dsray.trace import trail
from dsray.trace.builds import Build, builds
from dsray.trace.trail import find, kept_first
from rows import raw_table


@pytest.fixture(scope="module")
def rows(made):
    build = builds(made.store)[0]
    return [row for one in build.files for row in shards.read(made.store, one, ["id", "url", "origin"]).to_pylist()]


def test_an_id_a_beginning_a_file_and_a_url_are_the_same_row(made, rows):
    real = next(row for row in rows if row["origin"] == "real")
    names = [real["id"], real["id"].upper(), real["id"][:10], f"{real['id']}.png", f"out/train/a/{real['id']}.png",
             real["url"]]  # fmt: skip
    found = [find(made.store, name) for name in names]
    assert {one.id for one in found} == {real["id"]}
    assert {one.build.name for one in found} == {"shapes@v2"}
    assert all(one.raw and one.raw.value == real["id"] for one in found)
    assert {one.within(one.build.files).shard.name for one in found} == {
        found[0].within(found[0].build.files).shard.name
    }


def test_inside_names_the_build(made, rows):
    augmented = next(row for row in rows if row["origin"] == "augmented")
    assert find(made.store, augmented["id"], "shapes@v1").build.name == "shapes@v1"
    assert find(made.store, augmented["id"], "shapes").build.name == "shapes@v2"
    only_first = sorted(set(all_of(made.store, 1)) - set(all_of(made.store, 2)))[0]
    assert find(made.store, only_first).build.name == "shapes@v1"
    with pytest.raises(DsrayError, match=r"shapes@v2 was not built from row"):
        find(made.store, only_first, "shapes@v2")


def all_of(store, number):
    build = next(one for one in builds(store) if one.number == number)
    return [row for one in build.files for row in shards.read(store, one, ["id"])["id"].to_pylist()]


def test_of_a_release_only_the_buckets_of_an_id_are_read(made, rows):
    everywhere = sum(len(build.files) for build in builds(made.store))
    for row in rows[:20]:
        asked = [one for one in trail._holders(builds(made.store), row["id"]) if one.name.startswith("releases/")]
        assert len(asked) < everywhere and find(made.store, row["id"]).within(asked)


@pytest.mark.parametrize(("name", "words"), [
    ("abc", "'abc' is too short to name a row. Give at least 8 digits"),
    ("hello", "'hello' is no row, URL or file of a release."),
    ("0123456789", "has an id that begins with 0123456789"),
    ("http://nowhere/1.png", "No row on file:.* came from http://nowhere/1.png"),
])  # fmt: skip
def test_what_is_no_row_is_one_sentence(made, name, words):
    with pytest.raises(DsrayError, match=words):
        find(made.store, name)


def test_an_ambiguous_beginning_names_what_it_may_be(made, rows, monkeypatch):
    monkeypatch.setattr(trail, "_LEAST", 1)
    first = rows[0]["id"][:1]
    with pytest.raises(DsrayError, match=rf"\d+ rows have an id that begins with {first}. Give more of it: {first}"):
        find(made.store, first)


def test_an_empty_lake_says_so(tmp_path):
    with pytest.raises(DsrayError, match="Nothing was built"):
        find(open_store(f"file://{tmp_path}"), "0123456789")


def test_of_rows_with_one_id_the_kept_one_is_told(store):
    """As after a recrawl that found an item as it was before the last change of it."""
    raws = [raw_table([b"same"]), raw_table([b"same", b"other"])]
    told = [pa.table({"id": raw["id"], "kept": [bool(at)] * raw.num_rows}) for at, raw in enumerate(raws)]
    shards_of = {"collect": [shards.write_raw(store, "gallery", raw) for raw in raws],
                 "select": [shards.write_named(store, "shards/select", one) for one in told]}  # fmt: skip
    steps = ("collect", "measure", "render", "label", "select")
    raw = [receipt.digest for receipt in shards_of["collect"]]
    inputs = {"collect": [], "select": raw + raw}  # the facts and labels are the raw shards here
    made = {step: Manifest(step, 1, "", {}, inputs.get(step, raw), shards_of.get(step, shards_of["collect"]))
            for step in steps}  # fmt: skip
    build = Build("d", made)
    places = lookup.find(store, shards_of["collect"], "id", raws[0]["id"][0].as_py())
    assert [place.shard for place in places] == shards_of["collect"]
    assert kept_first(store, build, places) == places[::-1]
