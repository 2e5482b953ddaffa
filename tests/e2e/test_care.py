"""gc, verify and heal on the lake of a real build: what nothing needs goes, what is damaged is made again."""

import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

from dsray import build, cli, plugin
from dsray import recipe as recipes
from dsray.dataset import Dataset, find
from dsray.lake import refs
from dsray.stages import evaluate, release, versions
from dsray.upkeep import gc
from dsray.upkeep.heal import heal
from dsray.upkeep.verify import verify
from inline import inline
from judged import pictured
from rows import drawing, png
from runs import Silent, lake, release_bytes


@pytest.fixture
def folder(built, tmp_path) -> Path:
    """A copy of the undisturbed build."""
    return Path(shutil.copytree(built[0], tmp_path / "lake"))


def changed(text: str, dataset: str = "digits", **blur: float) -> recipes.Recipe:
    data = yaml.safe_load(text)
    data["dataset"] = dataset
    data["select"]["drop"]["blur"] = blur or data["select"]["drop"]["blur"]
    return recipes.parse(yaml.safe_dump(data, sort_keys=False))


def names(store) -> set[str]:
    return {entry.name for entry in store.list("")}


def test_every_object_lies_where_its_step_says_that_it_writes(built):
    folder, recipe, outcome = built
    with lake(folder) as store:
        steps = [step_of(recipe, outcome.made) for _, step_of, _ in build.stages(recipe)]
        known = ("stages/", "refs/", *(place for step in steps for place in step.folders))
        assert [name for name in names(store) if not name.startswith(known)] == []


def test_what_another_threshold_left_behind_goes_when_its_version_is_withdrawn(built, folder, recipe_text):
    _, _, first = built
    recipe = changed(recipe_text, min_quantile=0.1)
    with lake(folder) as store:
        assert all(name.split("/")[0] in ("crawls", "shards") for name in gc.sweep(store, 0).names)
        whole = names(store)
        assert gc.sweep(store, 0).names == []
        second = build.run(recipe, store, Silent())
        gc.sweep(store, 0)
        assert whole <= names(store), "a version that stands keeps all that it was made of"
        versions.withdraw(store, "digits", 1, "too blurred")
        dry = gc.sweep(store, 0, dry=True)
        gone = gc.sweep(store, 0)
        assert gone.names == dry.names
        stay = {shard.name for manifest in second.made.values() for shard in manifest.shards}
        old = {shard.name for manifest in first.made.values() for shard in manifest.shards} - stay
        assert {n for n in gone.names if n.endswith(".parquet")} == old and old
        again = build.run(recipe, store, Silent())
        assert again.up_to_date
        assert Dataset(find(store, "digits"), None).arrow().num_rows == second.made["release"].counts["kept"]


def test_the_verb_says_what_would_go_and_takes_it_away_when_told(folder, capsys):
    where = ["--lake", f"file://{folder}"]
    assert cli.main(["gc", *where]) == 0
    assert "Nothing to take away" in capsys.readouterr().out  # all is younger than a week
    assert cli.main(["gc", *where, "--grace", "0"]) == 0
    said = capsys.readouterr().out
    assert "would go" in said and "crawls/gallery" in said and "again with --yes" in said
    assert cli.main(["gc", *where, "--grace", "0s", "--yes"]) == 0
    assert "are gone" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["gc", *where, "--grace", "soon"])


def test_gc_in_a_loop_beside_two_builds_takes_nothing_from_them(built, recipe_text, ray_session, tmp_path):
    """Two recipes of one lake, there and back, so that each finds shards that nothing names; gc sweeps all the time."""
    folder = Path(shutil.copytree(built[0], tmp_path / "lake"))
    ended, sweeps, failures = threading.Event(), [], []

    def sweeping() -> None:
        while not ended.is_set():
            try:
                with lake(folder) as store:
                    sweeps.append(len(gc.sweep(store, 0).names))
            except Exception as error:
                failures.append(error)

    def building(dataset: str) -> None:
        try:
            with lake(folder) as store:
                for blur in ({"min_quantile": 0.1}, {}, {"min_quantile": 0.1}, {}):
                    build.run(changed(recipe_text, dataset, **blur), store, Silent())
                    for number in versions.standing(versions.published(store, dataset)):
                        if number > 1:
                            versions.withdraw(store, dataset, number, "made to be swept")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=building, args=(dataset,)) for dataset in ("digits", "others")]
    sweeper = threading.Thread(target=sweeping)
    for thread in (*threads, sweeper):
        thread.start()
    for thread in threads:
        thread.join()
    ended.set()
    sweeper.join()
    assert not failures, failures
    assert sum(sweeps) > 0 and len(sweeps) > 5
    assert release_bytes(folder) == release_bytes(built[0])
    with lake(folder) as store:
        assert build.run(built[1], store, Silent()).up_to_date
        assert Dataset(find(store, "digits"), None).arrow().num_rows


def test_a_gc_that_is_killed_leaves_a_lake_on_which_run_works(built, folder, recipe_text, ray_session):
    with lake(folder) as store:
        versions.withdraw(store, "digits", 1, "to be made again")
        refs.update(store, "builds/digits", lambda value: {**value, "steps": {}})
    code = (
        "import os, sys\nfrom dsray.upkeep import gc\nfrom dsray.lake.files import FileStore\n"
        "delete, left = FileStore.delete, [int(sys.argv[2])]\n"
        "def dying(self, name):\n    left[0] -= 1\n    os.kill(os.getpid(), 9) if left[0] < 0 else delete(self, name)\n"
        "FileStore.delete = dying\ngc.sweep(FileStore(sys.argv[1]), 0)\n"
    )
    for deletes in (2, 10, 20):
        died = subprocess.run([sys.executable, "-c", code, f"file://{folder}", str(deletes)], timeout=120)
        assert died.returncode == -signal.SIGKILL
    with lake(folder) as store:
        outcome = build.run(built[1], store, Silent())
        assert not outcome.up_to_date
        assert release_bytes(folder) == release_bytes(built[0])


@pytest.fixture(scope="module")
def alone(recipe_text, tmp_path_factory):
    """The same build without Ray: (lake's folder, recipe)."""
    folder = tmp_path_factory.mktemp("made")
    recipe = recipes.parse(recipe_text)
    with inline(), lake(folder) as store:
        build.run(recipe, store, Silent())
    return folder, recipe


@pytest.fixture
def made(alone):
    """It, and no Ray for the builds that heal it."""
    with inline():
        yield alone


def flip(path: Path) -> None:
    """One bit of the middle byte."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def objects(folder: Path) -> dict[str, bytes]:
    """What readers of releases get, wherever the lake was when it was written."""
    root = folder / "releases"
    found = sorted(path for path in root.rglob("*") if path.is_file() and ".meta" not in path.parts)
    where = rb"file:///[^\"<]*?/(made0|lake)(?=[/<])"
    return {str(path.relative_to(root)): re.sub(where, b"", path.read_bytes()) for path in found}


KINDS = [
    *(f"shards/{stage}/*/*.parquet" for stage in ("measure", "label", "select", "render", "gather", "augment")),
    *(f"stages/{stage}/*.json" for stage in ("collect", "measure", "select", "gather", "release")),
    *(f"releases/digits/v1/{file}" for file in ("train/real-*.parquet", "test/real-*.parquet", "manifest.json",
                                                "README.md", "report.html", "claim.json")),
    "refs/builds/digits.json", "refs/releases/digits.json", "refs/crawls/gallery/*.json",
]  # fmt: skip


def test_a_damaged_object_of_any_kind_is_named_and_made_again_with_the_same_bytes(made, tmp_path):
    folder = Path(shutil.copytree(made[0], tmp_path / "lake"))
    before = objects(folder)
    with lake(folder) as store:
        gc.sweep(store, 0)  # what is not reachable is not checked
        whole = verify(store)
        assert not whole.problems and whole.objects > 30 and whole.bytes > 100_000
        assert not verify(store, "digits", quick=True).problems
        for pattern in KINDS:
            path = next(path for path in sorted(folder.glob(pattern)) if ".meta" not in path.parts)
            flip(path)
            damaged = verify(store)
            assert [one.name for one in damaged.problems] == [str(path.relative_to(folder))], pattern
            assert not heal(store, damaged, Silent()).problems, pattern
            assert objects(folder) == before, pattern
            assert build.run(made[1], store, Silent()).up_to_date, pattern


def test_a_damaged_model_its_rows_and_its_scores_are_made_again_with_the_same_bytes(
    made, recipe_text, tmp_path, monkeypatch
):
    monkeypatch.setattr(evaluate, "run", pictured)
    folder = Path(shutil.copytree(made[0], tmp_path / "lake"))
    plain = yaml.safe_load(recipe_text) | {
        "synthesize": {"vae": {"preset": "tiny", "rows": 20}},
    }
    recipe = recipes.parse(yaml.safe_dump(plain, sort_keys=False))
    with lake(folder) as store:
        build.run(recipe, store, Silent(), accept="a test")
        gc.sweep(store, 0)
        before = objects(folder)
        for pattern in ("models/*/model.safetensors", "shards/synthesize/*/*.parquet", "stages/train/*.json",
                        "evaluations/*/*.png", "stages/evaluate/*.json"):  # fmt: skip
            path = next(iter(sorted(folder.glob(pattern))))
            flip(path)
            damaged = verify(store)
            assert [one.name for one in damaged.problems] == [str(path.relative_to(folder))], pattern
            assert not heal(store, damaged, Silent()).problems, pattern
            assert objects(folder) == before, pattern
            assert build.run(recipe, store, Silent(), accept="a test").up_to_date, pattern


def test_what_is_gone_is_made_again_and_a_lost_receipt_is_given_back(made, tmp_path):
    folder = Path(shutil.copytree(made[0], tmp_path / "lake"))
    before = objects(folder)
    with lake(folder) as store:
        for pattern in ("shards/render/*/*.parquet", "stages/select/*.json", "releases/digits/v1/manifest.json"):
            gone = str(next(iter(sorted(folder.glob(pattern)))).relative_to(folder))
            store.delete(gone)
            for quick in (True, False):
                assert gone in [one.name for one in verify(store, quick=quick).problems], pattern
            assert not heal(store, verify(store), Silent()).problems, pattern
        raw = next(iter(sorted(folder.glob("raw/gallery/*/*.parquet"))))
        for sidecar in (raw.parent / ".meta").iterdir():
            sidecar.unlink()
        (problem,) = verify(store, quick=True).problems
        assert (problem.name, problem.what) == (str(raw.relative_to(folder)), "carries no receipt")
        assert not heal(store, verify(store), Silent()).problems
        assert objects(folder) == before


def test_raw_data_that_was_crawled_is_not_made_again_and_the_verb_says_what_mends_it(made, tmp_path, capsys):
    folder = Path(shutil.copytree(made[0], tmp_path / "lake"))
    where = ["--lake", f"file://{folder}"]
    assert cli.main(["verify", *where]) == 0
    assert "All is whole" in capsys.readouterr().out
    raw = next(iter(sorted(folder.glob("raw/gallery/*/*.parquet"))))
    flip(raw)
    assert cli.main(["verify", "digits", *where, "--quick"]) == 0, "only a full read sees it"
    capsys.readouterr()
    assert cli.main(["verify", "digits", *where, "--heal"]) == 3
    said = capsys.readouterr().out
    assert str(raw.relative_to(folder)) in said and "--recrawl" in said and "1 problem: " in said
    assert cli.main(["verify", "nobody", *where]) == 1


def test_an_older_version_is_healed_with_its_own_recipe_and_the_last_build_stays_the_last(made, recipe_text, tmp_path):
    folder = Path(shutil.copytree(made[0], tmp_path / "lake"))
    with lake(folder) as store:
        build.run(changed(recipe_text, min_quantile=0.1), store, Silent())
        last, before = refs.get(store, "builds/digits")[0]["steps"], objects(folder)
        flip(next(iter(sorted(folder.glob("releases/digits/v1/train/real-*.parquet")))))
        assert not heal(store, verify(store), Silent()).problems
        assert objects(folder) == before and refs.get(store, "builds/digits")[0]["steps"] == last
        assert versions.resolve(store, "digits") == ("digits", 2)


def test_an_older_version_that_becomes_another_one_is_not_what_the_name_means(made, recipe_text, tmp_path, monkeypatch):
    folder = Path(shutil.copytree(made[0], tmp_path / "lake"))
    with lake(folder) as store:
        build.run(changed(recipe_text, min_quantile=0.1), store, Silent())
        flip(next(iter(sorted(folder.glob("releases/digits/v1/train/real-*.parquet")))))
        monkeypatch.setattr(release, "VERSION", release.VERSION + 1)
        heal(store, verify(store), Silent())
        assert versions.standing(versions.published(store, "digits")) == [1, 2, 3]
        assert versions.resolve(store, "digits") == ("digits", 2)


FILES = """
dataset: another
collect: {{drawings: {{files: {{path: {folder}}}}}}}
select: {{drop: {{unlabelled: false}}, split: {{train: 1, validation: 0, test: 0}}}}
render: {{side: 12, mode: L, own: [{{function: "{module}:same"}}]}}
"""


def test_what_cannot_be_made_again_stays_and_hinders_nothing_else(made, tmp_path, monkeypatch):
    """Of one dataset the code is gone, of another the source."""
    folder = Path(shutil.copytree(made[0], tmp_path / "lake"))
    (tmp_path / "drawings").mkdir()
    for at in range(8):
        (tmp_path / "drawings" / f"{at}.png").write_bytes(png(drawing(at, 16)))
    (tmp_path / "codeless.py").write_text("def same(rows):\n    return rows\n")
    plain = re.sub(r", own: .*\]", "", FILES).format(folder=tmp_path / "drawings")
    own = FILES.format(folder=tmp_path / "drawings", module="codeless").replace("another", "codeless")
    before = objects(folder)
    with lake(folder) as store, monkeypatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        for text in (plain, own):
            build.run(recipes.parse(text), store, Silent())
    with lake(folder) as store:
        plugin.load.cache_clear()
        sys.modules.pop("codeless")
        shutil.rmtree(tmp_path / "drawings")
        files = [next(folder.glob(f"releases/{name}/v1/train/*.parquet")) for name in ("codeless", "digits")]
        for path in (
            *files,
            folder / f"stages/collect/{refs.get(store, 'builds/another')[0]['steps']['collect']}.json",
        ):
            flip(path)
        damaged = files[0].read_bytes()
        left = heal(store, verify(store), Silent()).problems
        said = {one.name: one.what for one in left}
        assert "No module named 'codeless'" in said["codeless@v1"] and "cannot be made again" in said["another@v1"]
        assert files[0].read_bytes() == damaged and verify(store, "digits").problems == []
        assert {name: data for name, data in objects(folder).items() if name.startswith("digits/")} == before
