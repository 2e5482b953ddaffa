"""`dsray forget` that only looks, that is refused, or that is killed at any operation: its end is always the same."""

import json
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dsray import build, forgetting, keys, recipe
from dsray.forget import find, order, raws
from dsray.forget.find import Request
from dsray.lake import leases, shards, tombstones
from dsray.lake.files import FileStore
from dsray.lake.session import opened
from dsray.stages import versions
from inline import inline
from rows import drawing, png
from runs import Silent, dsray, lake, said

POINTS = 16


class Killed(BaseException):
    """What the process is not there to see."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory):
    """(folder of pictures, recipe's file, lake of its build): 40 pictures, the first of which is there twice."""
    folder = tmp_path_factory.mktemp("killed")
    files = folder / "files"
    files.mkdir()
    for number in range(40):
        (files / f"{number}.png").write_bytes(png(drawing(number, 48)))
    (files / "3b.png").write_bytes((files / "3.png").read_bytes())
    path = folder / "recipe.yaml"
    path.write_text(f"""
dataset: drawings
collect: {{disk: {{files: {{path: {files}, texts: {{caption: name}}}}}}}}
label: [{{pattern: {{column: caption, regex: "(\\\\d)"}}}}]
select: {{drop: {{}}, duplicates: {{exact: true, radius: 2}}}}
render: {{side: 32, mode: L}}
augment: {{copies: 1, rotate: 10}}
release: {{shard_mb: 0.004}}
""")
    with inline(), lake(folder / "lake") as store:
        build.run(recipe.load(path), store, Silent())
    return files, path, folder / "lake"


@contextmanager
def killed_after(number: int) -> Iterator[list[str]]:
    """After its operation of this number a process does nothing any more; before one is after that before it. Yields
    what it did."""
    did: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("create", "swap", "delete"):
            whole = getattr(FileStore, name)

            def dying(self, *given, whole=whole, name=name, **more):
                if len(did) > number:
                    raise Killed
                did.append(f"{name} {given[0]}")
                done = whole(self, *given, **more)
                if len(did) > number:
                    raise Killed
                return done

            patch.setattr(FileStore, name, dying)
        yield did


def forget(store, files: Path, name: str = "3.png") -> None:
    """As the verb does, from the beginning."""
    with leases.alone(store, "dsray forget") as lease:
        would = order.look(store, Request(urls=(f"file://{files}/{name}",)), "a letter", "me")
        ended = order.carry_out(store, order.file(store, would), lease)
    order.rebuild(store, ended, lambda name: order.build_again(store, name, Silent()))


def carry_on(store) -> None:
    """As `--continue` does."""
    for ended in forgetting.carried_on(store):
        order.rebuild(store, ended, lambda name: order.build_again(store, name, Silent()))


def objects(folder: Path) -> dict[str, str]:
    """Name → digest of everything, but for what tells a time."""
    timed = re.compile(r"forgotten/|refs/|\.meta|\.locks|/claim\.json$|/manifest\.json$|README|report")
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: keys.digest(path.read_bytes()) for name, path in found.items() if not timed.search(name)}


def test_killed_at_any_operation_it_comes_to_the_same_end(world, tmp_path):
    files, _, built = world
    with inline():
        shutil.copytree(built, tmp_path / "whole")
        with killed_after(10**9) as did, lake(tmp_path / "whole") as store:
            forget(store, files)
        expected = objects(tmp_path / "whole")
        assert any("releases/drawings/v2/" in name for name in expected)
        for point in random.Random(20261128).sample(range(len(did)), POINTS):
            folder = tmp_path / str(point)
            shutil.copytree(built, folder)
            with pytest.raises(Killed), killed_after(point), lake(folder) as store:
                forget(store, files)
            with lake(folder) as store:
                for entry in list(store.list(leases.FOLDER)):  # which end by themselves, a minute later
                    store.delete(entry.name)
                if tombstones.orders(store):
                    carry_on(store)
                else:
                    forget(store, files)
                assert tombstones.begun(store) == []
            found = objects(folder)
            differ = {name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)}
            assert not {name for name in differ if not name.startswith("probe/")}, (point, did[point])
            shutil.rmtree(folder)
    print(f"{POINTS} kills at {len(did)} operations, 0 wrong ends")


def test_a_release_that_a_waiting_build_made_of_the_old_rows_goes_when_a_killed_order_is_carried_on(world, tmp_path):
    files, _, built = world
    with inline():
        shutil.copytree(built, tmp_path / "whole")
        with killed_after(10**9) as did, lake(tmp_path / "whole") as store:
            forget(store, files)
        shutil.copytree(built, tmp_path / "lake")
        edited = max(n for n, one in enumerate(did) if one.startswith("swap stages/collect/"))
        with pytest.raises(Killed), killed_after(edited), lake(tmp_path / "lake") as store:
            forget(store, files)
        with lake(built) as before, lake(tmp_path / "lake") as store:
            for entry in list(store.list(leases.FOLDER)):
                store.delete(entry.name)
            for entry in before.list("releases/drawings/v1/"):  # as a build does that had read all before
                name = entry.name.replace("/v1/", "/v2/")
                if name.endswith(".parquet"):
                    shards.write(store, name, shards.read(before, shards.adopt(before, entry.name)))
                else:
                    store.create(name, before.read(entry.name))
            versions.publish(store, "drawings", 2, "waited")
            carry_on(store)
            assert versions.standing(versions.published(store, "drawings")) == [3]
            assert not any(entry.name.endswith(".parquet") for entry in store.list("releases/drawings/v2/"))


def test_after_a_change_was_taken_back_the_recipe_of_the_last_build_is_built_again(world, tmp_path):
    files, path, built = world
    shutil.copytree(built, tmp_path / "lake")
    wanted = recipe.load(path)
    plain = wanted.model_dump(mode="json")
    other = recipe.of({**plain, "render": {**plain["render"], "side": 24}})
    with inline(), lake(tmp_path / "lake") as store:
        assert build.run(other, store, Silent()).made["release"].details["version"] == 2
        build.run(wanted, store, Silent())
        forget(store, files)
        assert versions.resolve(store, "drawings") == ("drawings", 3)
        assert json.loads(store.read("releases/drawings/v3/manifest.json"))["recipe"]["render"]["side"] == 32
        assert build.run(wanted, store, Silent()).up_to_date


def test_after_sources_were_only_read_again_the_same_rows_are_meant(world, tmp_path):
    files, path, built = world
    shutil.copytree(built, tmp_path / "lake")
    request = Request(where="label == '3'")
    with inline(), lake(tmp_path / "lake") as store:
        before = order.look(store, request).order
        for number in range(100, 104):
            (files / f"{number}.png").write_bytes(png(drawing(number, 48)))
        try:
            build.run(recipe.load(path), store, Silent(), recrawl="all", until="collect")
        finally:
            for number in range(100, 104):
                (files / f"{number}.png").unlink()
        after = order.look(store, request).order
    assert after.signatures and (after.rows, after.signatures) == (before.rows, before.signatures)


def test_rows_that_only_a_standing_release_holds_are_forgotten_too(world, tmp_path):
    files, _, built = world
    shutil.copytree(built, tmp_path / "lake")
    url = f"file://{files}/5.png"
    with inline(), lake(tmp_path / "lake") as store:
        moved = raws.rewrite(store, find.find(store, Request(urls=(url,))).shards)
        raws.edit(store, moved)  # as a source does that is read again under the same key
        for name in moved:
            store.delete(name)
        assert order.look(store, Request(urls=(url,), only=True)).datasets == ["drawings"]
        forget(store, files, "5.png")
        assert versions.resolve(store, "drawings") == ("drawings", 2)
        made = [shards.read(store, shards.adopt(store, one.name), ["url"])["url"].to_pylist()
                for one in store.list("releases/") if one.name.endswith(".parquet")]  # fmt: skip
        assert made and url not in {one for part in made for one in part}


def test_no_byte_of_them_is_left_in_the_files_of_the_embedded_lake(world, tmp_path, monkeypatch):
    files, path, _ = world
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DSRAY_LAKE", raising=False)

    def holding(data: bytes) -> list[Path]:
        there = [one for one in (tmp_path / ".dsray").rglob("*") if one.is_file()]
        return [one for one in there if data in one.read_bytes()]

    with inline(), opened(None) as store:
        build.run(recipe.load(path), store, Silent())
        gone = find.find(store, Request(urls=(f"file://{files}/3.png",))).shards
        objects = [store.read(name) for name in gone]
        objects += [store.read(one.name) for one in store.list("shards/") if one.name.startswith("shards/gather/")]
        assert len(objects) > 1 and all(map(holding, objects))
        forget(store, files)
        assert not any(map(holding, objects))
        assert all(holding(store.read(one.name)) for one in store.list("raw/"))


def test_a_dry_run_tells_and_changes_nothing(world, tmp_path):
    files, _, built = world
    shutil.copytree(built, tmp_path / "lake")
    before = {path: path.read_bytes() for path in (tmp_path / "lake").rglob("*") if path.is_file()}
    url = f"file://{tmp_path}/lake"
    done = dsray("forget", "--url", f"file://{files}/3.png", "--lake", url, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [re.split(r"\s{2,}", line.strip()) for line in done.stdout.splitlines()]
    told = {words[0]: words[1] for words in lines if len(words) > 1}
    assert told["rows of disk"] == "2" and told["of them alike"] == "1" and told["releases"] == "1"
    assert "Nothing was changed" in done.stdout
    after = {path: path.read_bytes() for path in (tmp_path / "lake").rglob("*") if path.is_file()}
    assert {p: d for p, d in after.items() if ".locks" not in p.parts} == {
        p: d for p, d in before.items() if ".locks" not in p.parts
    }


def test_bad_input_is_one_sentence(world, tmp_path):
    built = world[2]
    shutil.copytree(built, tmp_path / "lake")

    def forget(*options: str, code: int = 2) -> str:
        return said(dsray("forget", *options, "--lake", f"file://{tmp_path}/lake", cwd=tmp_path), code)

    assert "What is to be forgotten?" in forget()
    assert "Forgetting needs a reason" in forget("--id", "a", "--yes")
    assert "No row of this lake is meant" in forget("--id", "nowhere", code=1)
    assert "cannot be read" in forget("--ids", "missing.txt")
    assert "There is no order to forget rows" in forget("--continue", code=1)
    assert "carries on what was asked for before" in forget("--continue", "--id", "a")
    assert "is no question to columns" in forget("--where", "import os")
    assert "No dataset of this lake has colour" in forget("--where", "colour == 1")
    command = [sys.executable, "-m", "jobs.forget", "--lake", f"file://{tmp_path}/lake", "--id", "nowhere"]
    job = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "No row of this lake is meant" in said(job, 1)


DYING = """
import os, sys
from dsray.cli import main
from dsray.lake.files import FileStore
delete, left = FileStore.delete, [int(sys.argv[1])]
def dying(self, name):
    left[0] -= name.startswith(("raw/", "releases/", "shards/", "stages/"))
    os.kill(os.getpid(), 9) if left[0] < 0 else delete(self, name)
FileStore.delete = dying
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("deletes", [0, 5, 12])
def test_killed_for_good_and_carried_on(world, tmp_path, deletes):
    files, _, built = world
    shutil.copytree(built, tmp_path / "lake")
    url = f"file://{tmp_path / 'lake'}"
    verb = ["forget", "--url", f"file://{files}/3.png", "--reason", "a letter", "--yes", "--no-build", "--lake", url]
    died = subprocess.run([sys.executable, "-c", DYING, str(deletes), *verb], cwd=tmp_path, capture_output=True)
    assert died.returncode == -signal.SIGKILL
    again = dsray("forget", "--id", "x", "--lake", url, cwd=tmp_path)
    assert "Order 1 to forget rows was stopped before its end. Run `dsray forget" in said(again, 3)
    done = dsray("forget", "--continue", "--no-build", "--lake", url, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with lake(tmp_path / "lake") as store:
        assert len(tombstones.orders(store)) == 1 and tombstones.begun(store) == []
        assert not any(entry.name.endswith(".parquet") for entry in store.list("releases/drawings/v1/"))
