"""The process dies before and after every single operation of a whole build: run again, all is as if nothing was."""

import json
import random
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from dsray import build
from dsray import recipe as recipes
from dsray.errors import LakeError
from dsray.lake.store import open_store, probe
from dsray.recipe import Recipe
from faulty import WRITES, Crash, Faulty, steps
from inline import inline
from rows import drawing, png
from runs import Silent
from toll import Toll, release

RECIPE = """\
dataset: small
collect: {{mine: {{files: {{path: {path}, texts: {{caption: txt}}}}}}}}
label: [{{pattern: {{column: caption, regex: "digit (\\\\d)"}}}}]
select: {{drop: {{min_side: 16, low_information: {{min: 0.3}}}}, duplicates: {{exact: true, radius: 2}}}}
render: {{side: 16, mode: L}}
augment: {{copies: 1, rotate: 12}}
release: {{values: standard}}
"""
FEW = 12
"""Of the reads, where a crash leaves what the last write left, and of others; `make soak` takes all."""


some_or_all = pytest.mark.parametrize(
    "every", [pytest.param(False, id="some"), pytest.param(True, id="all", marks=pytest.mark.soak)]
)


class Small:
    """A small dataset: two raw shards, of which every rule quarantines something, and its lake."""

    def __init__(self, folder: Path) -> None:
        source = folder / "in"
        source.mkdir()
        pictures = [drawing(at, 12 if at == 3 else 28) for at in (0, 1, 1, 3, 4, 5, 6, 7)]
        pictures[4][:] = 0
        for at, picture in enumerate(pictures):
            (source / f"{at:02}.png").write_bytes(png(picture))
            (source / f"{at:02}.txt").write_text(f"digit {at % 2}")
        (source / "05.png").write_bytes(b"no picture")
        self.recipe: Recipe = recipes.parse(RECIPE.format(path=source))
        self.lake = folder / "lake"

    def fresh(self, **faults) -> Faulty:
        return Faulty(open_store(f"file://{self.lake}"), **faults)

    def run(self, store: Faulty) -> None:
        """As `dsray run` does."""
        probe(store)
        build.run(self.recipe, store, Silent())

    def empty(self) -> None:
        shutil.rmtree(self.lake, ignore_errors=True)


def everything(store: Faulty) -> dict[str, tuple[bytes, object]]:
    """Every object with its metadata, but for hours and seconds, and what the dead leave: probes and leases."""
    found = {}
    for entry in store.list(""):
        if entry.name.startswith(("probe/", "refs/leases/")):
            continue
        data = store.read(entry.name)
        if entry.name.startswith("refs/"):
            value = json.loads(data)
            value.pop("spent", None)
            for version in value.get("versions", {}).values():
                version.pop("created")
            data = json.dumps(value).encode()
        head = store.store.head(entry.name)
        found[entry.name] = (data, head.meta if head else None)
    return found


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    with pytest.MonkeyPatch.context() as patch, inline():
        patch.setattr("dsray.sources.files.GROUP_FILES", 64)
        yield Small(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def undisturbed(small: Small):
    """The operations of a build, every object that it leaves, and the release."""
    small.run(small.fresh())  # what a process does once, it does here
    small.empty()
    store = small.fresh()
    small.run(store)
    done = list(store.done)
    return done, everything(store), release(store, "small", whole=True)


def test_the_small_dataset_has_what_can_be_lost(small: Small, undisturbed):
    _, there, shards = undisturbed
    assert len([name for name in there if name.startswith("raw/")]) == 2
    manifest = json.loads(shards["releases/small/v1/manifest.json"])
    assert manifest["quarantine"] == dict.fromkeys(("exact_duplicate", "low_information", "min_side", "undecodable"), 1)
    assert sum(origins["real"] for origins in manifest["rows"].values()) == 4


@some_or_all
def test_a_crash_before_or_after_any_operation_leaves_no_trace(small: Small, undisturbed, every: bool):
    done = undisturbed[0]
    deaths = [Died(number, after) for number in range(1, len(done) + 1) for after in (False, True)]
    if not every:  # before an operation is after the one before it; and where nothing is written, nothing changes
        reads = [death for death in deaths if done[death.operation - 1] not in WRITES]
        writes = [death for death in deaths if done[death.operation - 1] in WRITES and death.after]
        deaths = [*writes, *random.Random(6).sample(reads, FEW)]
    toll = Toll(f"{len(deaths)} crashes before or after the {len(done)} operations of a build")
    for death in deaths:
        recovered(small, undisturbed, toll, [death])
    assert toll.injected["crash"] == len(deaths)
    toll.settle()


@some_or_all
def test_a_crash_in_the_recovery_leaves_no_trace(small: Small, undisturbed, every: bool):
    chance = random.Random(20261128)
    toll = Toll("two crashes, the second in the recovery")
    for _ in range(300 if every else FEW):
        first = chance.randint(1, len(undisturbed[0]))
        second = chance.randint(1, len(undisturbed[0]) - first + len(undisturbed[0]) // 4)
        recovered(small, undisturbed, toll, [Died(first, False), Died(second, chance.random() < 0.5)])
    toll.settle()


@some_or_all
def test_a_crash_between_the_steps_of_an_operation_leaves_no_trace(small: Small, undisturbed, every: bool):
    small.empty()
    with steps(small.lake) as counted:
        small.run(small.fresh())
    toll = Toll(f"a crash between the {counted.count} steps that a file system takes")
    for number in range(1, counted.count + 1) if every else random.Random(8).sample(range(1, counted.count + 1), FEW):
        small.empty()
        with steps(small.lake, number), pytest.raises(Crash):
            small.run(small.fresh())
        toll.injected["crash"] += 1
        finished(small, undisturbed, toll)
    toll.settle()


@some_or_all
def test_operations_that_fail_for_a_moment_cost_a_run_and_nothing_else(small: Small, undisturbed, every: bool):
    toll = Toll("operations that fail at rates of 0.5 to 3 %")
    for seed in range(100 if every else 8):
        small.empty()
        for attempt in range(200):
            store = small.fresh(rate=random.Random(seed).choice([0.005, 0.01, 0.03]), seed=1000 * seed + attempt)
            toll.runs += 1
            try:
                small.run(store)
            except LakeError:
                continue
            finally:
                toll.injected.update(store.injected)
            break
        finished(small, undisturbed, toll)
    toll.settle()


class Died(NamedTuple):
    """Where a process died."""

    operation: int
    after: bool


def recovered(small: Small, undisturbed, toll: Toll, deaths: Sequence[Died]) -> None:
    """Runs that die, then one that does not: the lake is as if only that one had been."""
    small.empty()
    for death in deaths:
        toll.runs += 1
        try:
            small.run(small.fresh(crash=death.operation, after=death.after))
        except Crash:
            toll.injected["crash"] += 1
    finished(small, undisturbed, toll)


def finished(small: Small, undisturbed, toll: Toll) -> None:
    _, there, shards = undisturbed
    store = small.fresh()
    small.run(store)
    toll.runs += 1
    assert everything(store) == there
    toll.add(store, "small", shards, whole=True)
