"""A lake that is not as it was left: one sentence that names the object and what mends it, and no stack trace; what is
made is never another dataset."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dsray import build, planning
from dsray import recipe as recipes
from dsray.errors import DamagedError, DsrayError, LakeError
from dsray.lake.store import Missing
from inline import inline
from runs import Silent, dsray, lake, release_bytes, said

Damage = Callable[[Path], object]


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def first(folder: Path, pattern: str) -> Path:
    return min(folder.glob(pattern))


def edit(path: Path, **fields: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)


AGAIN = "there and run its recipe again: the rest is kept."
HEAL = "`dsray verify --heal` makes the release again."
REAL = "releases/digits/v2/train/real-*.parquet"

CASES: dict[str, tuple[Damage, list[str], str]] = {
    "a version without its manifest": (
        lambda lake: (lake / "releases/digits/v2/manifest.json").unlink(), ["show", "digits@v2"],
        "releases/digits/v2/manifest.json is gone. Delete stages/release/"),
    "the same, for a diff": (
        lambda lake: (lake / "releases/digits/v2/manifest.json").unlink(), ["diff", "digits"],
        "releases/digits/v2/manifest.json is gone. Delete stages/release/"),
    "a manifest of half its bytes": (
        lambda lake: (lake / "releases/digits/v2/manifest.json").write_text('{"format": 1,'), ["export", "digits"],
        "is not a release's manifest. Delete releases/digits/v2/manifest.json and stages/release/"),
    "a manifest of another dataset": (
        lambda lake: edit(lake / "releases/digits/v2/manifest.json", dataset="letters"), ["show", "digits"],
        "is of letters@v2. Delete releases/digits/v2/manifest.json and stages/release/"),
    "a release of a newer dsray": (
        lambda lake: edit(lake / "releases/digits/v2/manifest.json", format=2), ["export", "digits"],
        "releases/digits/v2/manifest.json was written by a newer dsray (format 2). Update dsray."),
    "a stage of a newer dsray": (
        lambda lake: [edit(path, format=9) for path in lake.glob("stages/select/*.json")], ["diff", "digits"],
        "was written by a newer dsray (format 9). Update dsray."),
    "a shard that is gone": (lambda lake: only(lake, REAL).unlink(), ["export", "digits"], f"is gone. {HEAL}"),
    "the same, for a diff of rows": (lambda lake: only(lake, REAL).unlink(), ["diff", "digits"], f"is gone. {HEAL}"),
    "a damaged shard": (
        lambda lake: flip(only(lake, REAL)), ["export", "digits"],
        f"is damaged: its bytes are not those that its receipt names. {HEAL}"),
    "a damaged shard as pictures": (
        lambda lake: flip(only(lake, REAL)), ["export", "digits", "--format", "png"],
        f"is damaged: its bytes are not those that its receipt names. {HEAL}"),
    "versions that are no ref": (
        lambda lake: (lake / "refs/releases/digits.json").write_text("[]"), ["show"],
        "refs/releases/digits.json is not a ref. Bring it back from a copy of the lake"),
    "versions of another form": (
        lambda lake: (lake / "refs/releases/digits.json").write_text('{"versions": [1, 2]}'), ["show", "digits"],
        "refs/releases/digits.json is not a ref. Bring it back from a copy of the lake"),
    "a ref that names a version that never was": (
        lambda lake: shutil.rmtree(lake / "releases/digits"), ["show", "digits"],
        "releases/digits/v2/manifest.json is gone. Delete stages/release/"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_who_reads_is_told_what_is_wrong_and_what_mends_it(two, case, tmp_path):
    damage, arguments, words = CASES[case]
    damage(two[0])
    line = said(dsray(*arguments, "--lake", f"file://{two[0]}", cwd=tmp_path), LakeError.exit_code)
    assert words in line and f"file://{two[0]}/" in line


def test_a_lake_of_other_datasets_says_which(two, tmp_path):
    line = said(dsray("show", "letters", "--lake", f"file://{two[0]}", cwd=tmp_path), DsrayError.exit_code)
    assert line.endswith("Known: digits.")


def test_a_folder_that_is_no_lake_has_no_release(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/holiday.jpg").write_bytes(b"\xff\xd8")
    line = said(dsray("show", "digits", "--lake", f"file://{tmp_path / 'photos'}", cwd=tmp_path), DsrayError.exit_code)
    assert "There is no release of 'digits'" in line and "dsray run" in line


@pytest.mark.parametrize("name", ["manifest.json", "report.html"])
def test_a_run_does_not_call_up_to_date_what_nobody_can_open_and_its_advice_makes_the_same_again(two, name, tmp_path):
    folder, text, _ = two
    (tmp_path / "digits.yaml").write_text(text)
    path = folder / "releases/digits/v1" / name
    before = path.read_bytes()
    path.unlink()
    line = said(dsray("run", "digits.yaml", "--lake", f"file://{folder}", cwd=tmp_path), LakeError.exit_code)
    assert f"releases/digits/v1/{name} is gone. Delete stages/release/" in line and line.endswith(AGAIN)
    advised(folder, DsrayError("", line.partition(" is gone. ")[2]))
    with lake(folder) as store, inline():
        build.run(recipes.parse(text), store, Silent())
    assert path.read_bytes() == before or name == "report.html"  # which names the lake, and this is a copy


def test_a_last_build_whose_manifest_is_gone_is_named_by_plan_and_made_again(two):
    folder, _, text = two
    recipe = recipes.parse(text)
    before = release_bytes(folder)
    for path in folder.glob("stages/select/*.json"):
        path.unlink()
    with lake(folder) as store, inline():
        why = {step.name: step.why for step in planning.plan(recipe, store)}
        assert re.fullmatch(r"stages/select/[0-9a-f]{64}\.json is gone", why["select"])
        assert build.run(recipe, store, Silent()).made["release"].details["version"] == 2
    assert release_bytes(folder) == before


def test_a_last_build_that_is_no_build(two, tmp_path):
    folder, text, _ = two
    (tmp_path / "digits.yaml").write_text(text)
    (folder / "refs/builds/digits.json").write_text('{"steps": 3}')
    line = said(dsray("plan", "digits.yaml", "--lake", f"file://{folder}", cwd=tmp_path), LakeError.exit_code)
    assert "refs/builds/digits.json is not a ref. Bring it back from a copy of the lake, or delete it" in line


def test_a_crawl_that_is_gone_is_named_and_what_the_advice_says_fetches_everything_anew(two):
    folder, text, _ = two
    recipe, before = recipes.parse(text), release_bytes(folder)
    only(folder, "crawls/gallery/*/crawl.json").unlink()
    with lake(folder) as store, inline():
        with pytest.raises(Missing, match=r"crawl\.json is gone, which refs/crawls/gallery/\w+\.json names") as caught:
            build.run(recipe, store, Silent(), recrawl="all")
        assert "delete that ref" in str(caught.value)
        only(folder, "refs/crawls/gallery/*.json").unlink()
        build.run(recipe, store, Silent())
    assert release_bytes(folder) == before


def advised(folder: Path, error: DsrayError) -> None:
    """Does what a sentence says: Delete A and B there and run again."""
    names = re.findall(r"[\w./-]+", error.do.partition("Delete ")[2].partition(" there")[0])
    for name in filter(lambda name: name != "and", names):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def test_a_shard_of_a_stage_that_is_gone_is_made_again_as_it_says(two):
    folder, text, _ = two
    changed = recipes.parse(text.replace("rotate: 12", "rotate: 11"))
    for path in folder.glob("shards/gather/*/*.parquet"):
        path.unlink()
    with lake(folder) as store, inline():
        for _ in range(9):
            try:
                version = build.run(changed, store, Silent()).made["release"].details["version"]
                break
            except Missing as error:
                assert "shards/gather/" in error.wrong and "is gone" in error.wrong
                advised(folder, error)
    assert version == 3


@pytest.mark.parametrize("damage", [Path.unlink, flip], ids=["missing", "damaged"])
def test_a_missing_or_damaged_model_draws_nothing_until_it_is_trained_again_as_it_says(two, damage):
    folder, text, _ = two
    recipe = recipes.parse(text.replace("release:", "synthesize: {vae: {preset: tiny, rows: 20}}\nrelease:"))
    more = recipes.parse(text.replace("release:", "synthesize: {vae: {preset: tiny, rows: 30}}\nrelease:"))
    with lake(folder) as store, inline():
        build.run(recipe, store, Silent(), until="synthesize vae")
        model = only(folder, "models/*/model.safetensors")
        weights, rows = model.read_bytes(), pq.read_table(first(folder, "shards/synthesize/*/*.parquet")).to_pylist()
        damage(model)
        with pytest.raises((Missing, DamagedError), match=r"model\.safetensors is (gone|damaged)") as caught:
            build.run(more, store, Silent(), until="synthesize vae")
        advised(folder, caught.value)
        made = build.run(more, store, Silent(), until="synthesize vae").made["synthesize vae"]
    assert only(folder, "models/*/model.safetensors").read_bytes() == weights
    assert pq.read_table(folder / made.shards[0].name).to_pylist()[:20] == rows
