"""dsray.regenerate and dsray.roster: which recipes a job takes, who waits for whom, and what a person is told."""

import io
import threading
from pathlib import Path

import pytest
from rich.console import Console

from dsray import roster
from dsray.dataset import Version
from dsray.errors import RecipeError, SourceError
from dsray.lake.manifests import Manifest
from dsray.regenerate import Entry, Job, Result, difference, load
from dsray.stages.step import Step
from inline import inline
from rows import drawing, png

RECIPE = """dataset: {name}
lake: {lake}
collect: {{pictures: {{files: {{path: {folder}}}}}}}
select: {{drop: {{unlabelled: false}}, split: {{train: 1, validation: 0, test: 0}}}}
render: {{side: {side}, mode: L}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of recipes, beside a folder of pictures and a lake."""
    (tmp_path / "pictures").mkdir()
    for number in range(8):
        (tmp_path / "pictures" / f"{number}.png").write_bytes(png(drawing(number, 32)))
    (tmp_path / "recipes").mkdir()
    return tmp_path / "recipes"


def write(folder: Path, name: str, side: int = 32, pictures: str = "pictures", file: str = "") -> Path:
    path = folder / f"{file or name}.yaml"
    said = {"name": name, "side": side, "folder": folder.parent / pictures, "lake": f"file://{folder.parent / 'lake'}"}
    path.write_text(RECIPE.format(**said))
    return path


class Heard:
    """Listeners that note what each dataset makes."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str]] = []
        self.reused: list[tuple[str, str]] = []

    def of(self, name: str):
        class One:
            started = progress = staticmethod(lambda *said: None)

            @staticmethod
            def finished(step, manifest, seconds, reused):
                (self.reused if reused else self.made).append((name, step))

        return One()


def test_a_folder_and_files_are_taken_once_each_and_a_broken_one_stops_no_other(folder):
    first, other = write(folder, "a"), write(folder, "b")
    (folder / "broken.yml").write_text("dataset: c\nnonsense: 1\n")
    (folder / "notes.txt").write_text("no recipe")
    entries = load([folder, first, folder / "missing.yaml"])
    assert [entry.path for entry in entries] == [first, other, folder / "broken.yml", folder / "missing.yaml"]
    assert [entry.name for entry in entries] == ["a", "b", "broken.yml", "missing.yaml"]
    assert "nonsense" in str(entries[2].error) and "cannot be read" in str(entries[3].error)


def test_one_dataset_by_two_recipes_is_refused(folder):
    write(folder, "a"), write(folder, "a", file="again")
    with pytest.raises(RecipeError, match=r"a\.yaml and .*again\.yaml both make the dataset 'a'"):
        load([folder])
    with pytest.raises(RecipeError, match="There is no recipe in"):
        load([folder.parent / "pictures"])


def test_two_modules_of_one_name_are_refused(folder, tmp_path):
    other = tmp_path / "others"
    other.mkdir()
    for where, value in ((folder, 1.0), (other, 2.0)):
        (where / "mine_of_regenerate.py").write_text(f"def signal(array):\n    return {value}\n")
    for path in (write(folder, "a"), write(other, "b")):
        path.write_text(path.read_text() + "measure: {signals: {mine: 'mine_of_regenerate:signal'}}\n")
    one, two = load([folder, other])
    assert one.recipe and two.recipe is None
    assert "mine_of_regenerate.py here is another than" in str(two.error)


def test_what_recipes_share_is_made_once_and_a_failure_stops_no_other(folder):
    write(folder, "a"), write(folder, "b", side=24), write(folder, "c", pictures="nowhere")
    heard, job = Heard(), Job(load([folder]))
    with inline():
        job.run(heard.of, jobs=1)
    states = {one.name: (one.state, one.version) for one in job.results}
    assert states == {"a": ("made", 1), "b": ("made", 1), "c": ("failed", 0)}
    assert job.exit_code == SourceError.exit_code
    assert {"collect", "measure", "label"} <= {step for name, step in heard.reused if name == "b"}
    assert {step for name, step in heard.made if name == "b"} >= {"render", "release"}
    again, heard = Job(load([folder / "a.yaml", folder / "b.yaml"])), Heard()
    again.run(heard.of)  # without a cluster, which nothing here would start
    assert [one.state for one in again.results] == ["up to date", "up to date"] and not heard.made
    assert again.exit_code == 0


def test_sources_that_recipes_share_are_asked_anew_once(folder):
    write(folder, "a"), write(folder, "b", side=24)
    with inline():
        Job(load([folder / "a.yaml"])).run(Heard().of)
        for _ in range(2):
            Job(load([folder / "a.yaml"])).run(Heard().of, recrawl="all")
        (folder.parent / "pictures" / "new.png").write_bytes(png(drawing(77, 32)))
        heard, job = Heard(), Job(load([folder]))
        job.run(heard.of, jobs=1, recrawl="all")
    assert [step for _, step in heard.made].count("collect") == 1
    first, second = job.results
    assert (first.change, second.change) == ("1 added", "9 rows, the first version")
    with inline():
        path = folder / "a.yaml"
        path.write_text(path.read_text().replace("unlabelled: false", "unlabelled: false, blur: {min: 0.0}"))
        job = Job(load([path]))
        job.run(Heard().of)
    assert (job.results[0].state, job.results[0].version, job.results[0].change) == ("came to", 2, "the same rows")


def test_after_a_change_was_taken_back_the_next_version_is_compared_with_what_the_name_meant(folder):
    with inline():
        for side in (32, 24, 32):
            Job(load([write(folder, "a", side=side)])).run(Heard().of)
        (folder.parent / "pictures" / "new.png").write_bytes(png(drawing(77, 32)))
        job = Job(load([folder]))
        job.run(Heard().of, recrawl="all")
    assert (job.results[0].state, job.results[0].version, job.results[0].change) == ("made", 3, "1 added")


def test_who_needs_what_another_makes_waits_and_gives_its_place_away():
    job = Job([])
    job._room = threading.Semaphore(1)
    step, told = Step("a", "a", 1, {}, []), []
    begun, go_on = threading.Event(), threading.Event()

    def maker() -> None:
        with job._room, job._turn("lake", step):
            begun.set()
            job._room.release()  # as if there were room for two
            go_on.wait(10)
            told.append("made")
            job._room.acquire()

    def waiter() -> None:
        with job._room, job._turn("lake", step):
            told.append("found")

    threads = [threading.Thread(target=maker)]
    threads[0].start()
    assert begun.wait(10)
    threads.append(threading.Thread(target=waiter))
    threads[1].start()
    for _ in range(2):  # both wait: there is room for a third
        assert job._room.acquire(timeout=10)
        job._room.release()
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert told == ["made", "found"]


def test_ctrl_c_stops_all_and_says_what_came_to_an_end(folder, monkeypatch):
    write(folder, "a"), write(folder, "b", side=24)
    job = Job(load([folder]))

    class Impatient(Heard):
        def of(self, name):
            one = super().of(name)
            one.started = lambda step: job._stopped.set() if (name, step) == ("b", "gather") else None
            return one

    with inline():
        job.run(Impatient().of, jobs=1)
    assert [one.state for one in job.results] == ["made", "stopped"]
    assert job.exit_code == 130


def test_a_difference_of_large_versions_is_told_by_their_counts(monkeypatch):
    monkeypatch.setattr("dsray.regenerate._READ_BYTES", -1)

    def version(number, rows):
        return Version("a", number, None, {"rows": rows, "shards": []})

    now = version(2, {"test": {"real": 7}, "train": {"real": 90, "augmented": 95}})
    then = version(1, {"train": {"real": 100, "augmented": 95}})
    assert difference(then, now) == "-3 rows: train real -10, test real +7"
    assert difference(now, now) == "+0 rows" and difference(None, now) == "192 rows, the first version"


def test_the_summary_is_a_row_a_dataset_and_a_sentence_a_failure():
    file = io.StringIO()
    console = Console(file=file, width=120)
    error = SourceError("Nobody answers at [http://x/].", "Start it.")
    roster.summary(console, [Result("a", "made", 3, "+1 rows", 61.0), Result("b", "failed", error=error)])
    said = file.getvalue()
    assert ["a", "made", "v3", "+1", "rows", "61.0", "s"] in [line.split() for line in said.splitlines()]
    assert "b: Nobody answers at [http://x/]. Start it." in said
    listener = roster.listeners(console, [Entry(Path("a.yaml")), Entry(Path("longer.yaml"))])
    listener("a").finished("gather", Manifest("gather", 1, "", {}, [], counts={"kept": 5}), 2.0, reused=False)
    assert file.getvalue().splitlines()[-1].split() == ["a", "gather", "5", "rows", "0", "shards", "2.0", "s"]
