"""builds: all of a lake, the newest release first, and what follows from what in each."""

import json
import shutil
from dataclasses import replace

from dsray.lake import refs, shards
from dsray.lake.shards import Receipt
from dsray.lake.store import open_store
from dsray.stages import versions
from dsray.trace.builds import builds, crawl_of


def test_releases_then_withdrawn_ones_then_what_was_not_released(made, tmp_path):
    assert [one.name for one in builds(made.store)] == ["shapes@v2", "shapes@v1", "shapes, not released"]
    shutil.copytree(made.store.url.removeprefix("file://"), tmp_path / "lake")
    store = open_store(f"file://{tmp_path}/lake")
    versions.withdraw(store, "shapes", 2, "wrong")
    found = builds(store)
    assert [(one.number, one.withdrawn) for one in found] == [(1, ""), (2, "wrong"), (None, "")]
    store.delete("releases/shapes/v2/manifest.json")
    assert builds(store)[1].files == [] and builds(store)[1].made == {}


def test_shards_of_a_family_hold_the_same_rows(made):
    build = builds(made.store)[-1]
    assert [*build.trainings()] == ["gan"]
    for raw in build.shards("collect"):
        family = build.family(raw)
        ids = [[row["id"] for row in shards.read(made.store, family[step], ["id"]).to_pylist()]
               for step in ("collect", "measure", "render", "label", "select")]  # fmt: skip
        assert all(one == ids[0] for one in ids)
        assert {row["parent"] for row in shards.read(made.store, family["augment"], ["parent"]).to_pylist()} <= {
            row["id"] for row in shards.read(made.store, family["gather"], ["id"]).to_pylist()
        }


def test_a_release_gives_its_recipe_back(made):
    recipe = builds(made.store)[0].recipe()
    assert recipe and recipe.dataset == "shapes" and recipe.augment and recipe.augment.mixup == 0.5


def test_files_were_written_by_no_crawl(made):
    build = builds(made.store)[0]
    assert crawl_of(made.store, "drawings", build.shards("collect")[0]) == {}


def test_a_crawl_whose_record_is_gone_is_not_taken_for_the_next_one(store):
    raw = Receipt("raw/web/1.parquet", "d", 1, 1)
    for number, base in enumerate((None, "crawls/web/0")):
        said = {"number": number, "base": base, "rounds": 1, "shards": [{"name": raw.name}]}
        store.create(f"crawls/web/{number}/crawl.json", json.dumps(said).encode())
    store.create("crawls/web/0/round-00001/round.json", json.dumps({"shards": [{"name": raw.name}]}).encode())
    refs.update(store, "crawls/web/front", lambda _: {"last": "crawls/web/1"})
    assert crawl_of(store, "web", raw) == {"number": 0, "round": 1, "folder": "crawls/web/0"}
    store.delete("crawls/web/0/crawl.json")
    assert crawl_of(store, "web", raw) == {"number": None, "round": None, "folder": ""}
    store.create("crawls/web/1/round-00001/round.json", json.dumps({"shards": [{"name": raw.name}]}).encode())
    assert crawl_of(store, "web", raw) == {"number": 1, "round": 1, "folder": "crawls/web/1"}


def test_stages_that_another_crawl_left_behind_do_not_follow_from_its_shards(made):
    build = builds(made.store)[-1]
    collect = build.made["collect"]
    other = replace(collect.shards[0], name="raw/drawings/other.parquet", digest="other")
    for others in ([other, *collect.shards], [*collect.shards, other], [other]):
        newer = replace(build, made={**build.made, "collect": replace(collect, shards=others)})
        assert all(newer.family(raw) is None for raw in others)
    relabelled = replace(build.made["label"], shards=[other])
    assert replace(build, made={**build.made, "label": relabelled}).family(collect.shards[0]) is None
