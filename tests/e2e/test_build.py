"""A whole build without models: every row accounted for, every defect under its rule, the same bytes on any run."""

import json
import re
import shutil
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from changing import CHOICES, World, crawl_number
from dsray import build, planning
from dsray import recipe as recipes
from dsray.demo.gallery import gallery
from dsray.errors import DamagedError
from dsray.lake import manifests, shards
from inline import inline
from runs import LIMIT, Silent, dsray, lake, release_bytes


def read(store, manifest, columns=None):
    return pa.concat_tables(shards.read(store, receipt, columns) for receipt in manifest.shards)


def test_rows_in_are_rows_kept_and_quarantined_at_every_stage(built):
    folder, _, outcome = built
    with lake(folder) as store:
        for name, made in outcome.made.items():
            stands = manifests.find(store, made.stage, made.key)
            assert stands is not None, name
            counts = stands.counts
            assert counts["in"] == counts["kept"] + counts["quarantined"], name
    rows = {name: manifest.counts["in"] for name, manifest in outcome.made.items()}
    assert rows["collect"] == rows["measure"] == rows["label"] == rows["select"] > LIMIT
    assert rows["render"] == rows["collect"] and rows["gather"] == outcome.made["select"].counts["kept"]


def test_each_planted_defect_is_in_quarantine_under_its_rule(built):
    folder, _, outcome = built
    with lake(folder) as store:
        urls = read(store, outcome.made["collect"], ["url"])["url"].to_pylist()
        rules = read(store, outcome.made["select"], ["rule"])["rule"].to_pylist()
    found = {"/" + url.split("/", 3)[3]: rule for url, rule in zip(urls, rules, strict=True)}
    planted = gallery(LIMIT)
    expected = {path: rule for path, rule in planted.plan.items() if path not in planted.twins}
    assert {path: found.get(path, "missing") for path in expected} == expected
    for path, original in planted.twins.items():
        pair = [found[path], found[original]]
        assert planted.plan[path] in pair and None in pair, path  # which of the two stays, their ids say
    assert {path: found[path] for path in planted.kept} == dict.fromkeys(planted.kept)
    concerned = {*expected, *planted.twins, *planted.twins.values()}
    surprises = Counter(rule for path, rule in found.items() if rule and path not in concerned)
    assert sum(surprises.values()) <= 0.03 * LIMIT, surprises  # digits that are near-duplicates by themselves


def test_a_duplicate_cluster_is_never_torn_apart(built):
    folder, _, outcome = built
    with lake(folder) as store:
        table = read(store, outcome.made["select"])
    kept = [row for row in table.to_pylist() if row["kept"]]
    assert len({row["cluster"] for row in kept}) == len(kept)


def test_the_release_holds_every_kept_row_once(built):
    folder, _, outcome = built
    root = folder / outcome.made["release"].details["prefix"]
    real = [i for path in root.glob("*/real-*.parquet") for i in pq.read_table(path, columns=["id"])["id"].to_pylist()]
    with lake(folder) as store:
        table = read(store, outcome.made["select"])
    assert sorted(real) == sorted(row["id"] for row in table.to_pylist() if row["kept"])
    manifest = json.loads((root / "manifest.json").read_text())
    assert manifest["rows_in"] == len(real) + sum(manifest["quarantine"].values())


@pytest.mark.parametrize("cpus", [1])
def test_another_crawl_on_one_core_gives_the_same_bytes(built, recipe_file, tmp_path, cpus):
    folder, _, _ = built
    done = dsray("run", recipe_file, "--lake", f"file://{tmp_path / 'lake'}", "--cpus", str(cpus), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert release_bytes(tmp_path / "lake") == release_bytes(folder)


def test_a_second_run_makes_nothing_and_starts_nothing(built, recipe_file):
    folder, _, _ = built
    again = dsray("run", recipe_file, "--lake", f"file://{folder}", cwd=recipe_file.parent, PYTHONPROFILEIMPORTTIME="1")
    assert again.returncode == 0, again.stderr
    assert "Everything is up to date" in again.stdout
    imported = {line.rsplit("|", 1)[-1].strip() for line in again.stderr.splitlines() if line.startswith("import time")}
    assert not imported & {"ray", "torch", "scrapy", "boto3"}


def test_a_threshold_reuses_what_it_does_not_concern(built, recipe_text, ray_session):
    folder, _, _ = built
    with lake(folder) as store:
        planned = planning.plan(recipes.parse(recipe_text.replace("blur: {min: 200}", "blur: {min: 201}")), store)
    states = {step.name: step.state for step in planned}
    assert [states[name] for name in ("collect", "measure", "render", "label")] == ["reuse"] * 4
    assert states["select"] == "make"
    assert {step.name: step.why for step in planned if step.state == "unknown"} == dict.fromkeys(
        ("gather", "augment", "release"), "after select"
    )
    why = next(step.why for step in planned if step.name == "select")
    assert "select.drop.blur.min: 200.0 → 201.0" in why


def test_a_change_that_changes_nothing_stops_there(built, recipe_text, ray_session, tmp_path):
    heard = Silent()
    with lake(
        shutil.copytree(built[0], tmp_path / "lake")
    ) as store:  # verdicts name the threshold, so they differ; the samples are the same bytes
        build.run(recipes.parse(recipe_text.replace("dark: {max: 0.98}", "dark: {max: 0.981}")), store, heard)
    assert [name for name, reused in heard.steps if not reused] == ["select", "gather"]


def test_the_advice_on_a_damaged_lake_mends_it(built, recipe_text, ray_session, tmp_path):
    folder = tmp_path / "lake"
    shutil.copytree(built[0], folder)
    render, *_ = (folder / "shards" / "render").glob("*/*.parquet")
    render.write_bytes(render.read_bytes()[:-1000])
    changed = recipes.parse(recipe_text.replace("rotate: 12", "rotate: 11"))
    with lake(folder) as store:
        with pytest.raises(DamagedError) as caught:
            build.run(changed, store, Silent())
        advised = re.findall(r"(?:shards|stages)/[\w./]+", caught.value.do)
        assert len(advised) >= 2
        for name in advised:
            shutil.rmtree(folder / name) if name.endswith("/") else (folder / name).unlink()
        heard = Silent()
        build.run(changed, store, heard)
    assert "release" in [name for name, reused in heard.steps if not reused]


def test_two_builds_at_once_end_with_one_release(recipe_text, ray_session, tmp_path):
    from threading import Thread

    recipe, outcomes = recipes.parse(recipe_text), []

    def one() -> None:
        with lake(tmp_path) as store:
            outcomes.append(build.run(recipe, store, Silent()))

    threads = [Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert [outcome.made["release"].details["version"] for outcome in outcomes] == [1, 1]
    assert [path.name for path in (tmp_path / "releases" / "digits").iterdir() if path.is_dir()] == ["v1"]


def test_a_build_that_ends_after_one_that_asked_anew_does_not_undo_that(store, tmp_path):
    world = World(tmp_path / "source")
    recipe = world.recipe({name: values[0] for name, values in CHOICES.items()})

    class Beside(Silent):
        def finished(self, step, manifest, seconds, reused):
            if step == "collect":
                build.run(recipe, store, Silent(), recrawl="all")

    with inline():
        build.run(recipe, store, Beside())
        assert crawl_number(store) == 1
        world.picture(3, 50)
        made = build.run(recipe, store, Silent(), recrawl="all")
    assert crawl_number(store) == 2 and "collect" not in made.reused
