"""Whatever changes and whenever a build is killed: the next build makes again what depends on it, and the release is
that of a full rebuild, byte for byte.

A state machine changes rows, rules, labels, code and shards of a real lake, kills builds at any operation of the store,
and compares each build with one on an empty lake. CI makes some hundred steps, `make soak` ten thousand.
"""

import importlib
import itertools
import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from changing import CHOICES, World, crawl_number, holds, outcome, release_of, small_shards, watched
from dsray import build, dataset, planning
from dsray.lake.store import open_store
from inline import in_memory, inline
from runs import Silent

STAGES = ("augment", "collect", "gather", "label", "measure", "moments", "release", "render", "select")
"""Whose code may get another version."""
DERIVED = {
    "measure": ["collect"],
    "render": ["collect"],
    "gather": ["collect", "render", "select"],
    "augment": ["gather"],
}
"""Stages whose shards depend on shards of those stages, one on one, and on nothing else."""

NAMES = st.integers(0, 19)
NUMBERS = st.integers(0, 60)


class Killed(BaseException):
    """No part of dsray handles it, as none handles SIGKILL."""


class Mortal:
    """A store whose process is killed at its n-th operation, before or after the effect."""

    def __init__(self, store: Any, operations: int, after: bool) -> None:
        self.store, self.left, self.after = store, operations, after
        self.url = store.url

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.store, name)

        def operation(*arguments: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left < 0 or (self.left == 0 and not self.after):
                raise Killed
            done = method(*arguments, **named)
            if self.left == 0:
                raise Killed
            return done

        return operation


class Changes(RuleBasedStateMachine):
    """One dataset on one lake, and what happens to it."""

    done: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(dir=in_memory()))
        self.patch = pytest.MonkeyPatch()
        self.world = World(self.root / "source")
        self.said = {name: values[0] for name, values in CHOICES.items()}
        self.pictures = set(range(14))
        self.lake = open_store(f"file://{self.root / 'lake'}")
        self.asked = True  # whether a crawl has begun since the source changed
        self.before: dict[str, Any] = {}
        self.built = False  # whether nothing changed since the last build

    def teardown(self) -> None:
        if not self.built:
            self.build()
        self.patch.undo()
        shutil.rmtree(self.root)

    def changed(self, what: str, source: bool = False) -> None:
        self.done[what] += 1
        self.built = False
        self.asked = self.asked and not source

    @initialize()
    def first(self) -> None:
        self.build()

    @rule(name=NAMES, number=NUMBERS)
    def put_a_row(self, name: int, number: int) -> None:
        self.changed("row changed" if name in self.pictures else "row added", source=True)
        self.pictures.add(name)
        self.world.picture(name, number)

    @precondition(lambda self: len(self.pictures) > 4)
    @rule(data=st.data())
    def remove_a_row(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.pictures)))
        self.changed("row removed", source=True)
        self.pictures.remove(name)
        self.world.remove(name)

    @rule(table=st.integers(0, 3), rows=st.lists(st.tuples(NUMBERS, st.integers(0, 5)), min_size=1, max_size=6))
    def put_a_table(self, table: int, rows: list[tuple[int, int]]) -> None:
        self.changed("table", source=True)
        self.world.table(table, rows)

    @rule(name=st.sampled_from(sorted(CHOICES)), place=st.integers(0, 5))
    def change_the_recipe(self, name: str, place: int) -> None:
        others = [value for value in CHOICES[name] if value != self.said[name]]
        self.changed(name)
        self.said[name] = others[place % len(others)]

    @rule(name=NAMES, label=st.sampled_from(["0", "1", "2", None]))
    def edit_a_label(self, name: int, label: str | None) -> None:
        self.changed("label")
        self.world.label(f"p{name}", label)

    @rule(stage=st.sampled_from(STAGES))
    def change_the_code(self, stage: str) -> None:
        self.changed("version")
        module = importlib.import_module(f"dsray.stages.{stage}")
        self.patch.setattr(module, "VERSION", module.VERSION + 1)

    @rule(operations=st.integers(1, 400), after=st.booleans())
    def kill_a_build(self, operations: int, after: bool) -> None:
        store = Mortal(self.lake, operations, after)
        try:
            self.run(store)
        except Killed:
            self.done["kill"] += 1

    @precondition(lambda self: not self.built)
    @rule()
    def build(self) -> None:
        """The next build, and one from nothing."""
        self.done["build"] += 1
        with watched() as names:
            made = self.run(self.lake)
        empty = open_store(f"file://{self.root / 'empty'}")
        whole = outcome(self.world.recipe(self.said), empty)
        shutil.rmtree(self.root / "empty")
        self.built = True
        if isinstance(made, str) or isinstance(whole, str):
            assert made == whole.replace("/empty/", "/lake/") if isinstance(whole, str) else made == "refused"
            self.done["refused"] += 1
            return
        assert release_of(made) == release_of(whole)
        assert dataset.find(self.lake, "changing").number == made["release"].details["version"]  # what readers get
        assert {name: one.counts for name, one in made.items()} == {name: one.counts for name, one in whole.items()}
        assert made["select"].details == whole["select"].details and made["label"].details == whole["label"].details
        holds(made, self.lake)
        self.nothing_more(made, names)
        self.before = made

    def run(self, store: Any) -> Any:
        """A build that asks the source again if it changed since somebody asked."""
        before = crawl_number(self.lake)
        try:
            return outcome(self.world.recipe(self.said), store, None if self.asked else "all")
        finally:
            self.asked = self.asked or crawl_number(self.lake) > before

    def nothing_more(self, made: dict[str, Any], names: list[str]) -> None:
        """What stood was not made again, what did not change has its name, and now there is nothing to do."""
        stood = {receipt.name for manifest in self.before.values() for receipt in manifest.shards}
        assert not stood & set(names)
        assert len(names) == len(set(names))
        for stage in DERIVED:
            if stage in self.before and stage in made:
                unmoved(stage, self.before, made)
        recipe = self.world.recipe(self.said)
        assert {step.state for step in planning.plan(recipe, self.lake)} == {"reuse"}
        assert build.run(recipe, self.lake, Silent()).up_to_date


def unmoved(stage: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    """A shard whose inputs are the same has the same name and bytes. Not of `label`: a label of its rows may be new."""
    old, new = before[stage], after[stage]
    if (old.version, old.params) == (new.version, new.params):
        was, now = _by_inputs(stage, before), _by_inputs(stage, after)
        for inputs in was.keys() & now.keys():
            assert was[inputs] == now[inputs], stage


def _by_inputs(stage: str, made: dict[str, Any]) -> dict[tuple[str, ...], tuple[str, str]]:
    inputs = DERIVED[stage]
    families = zip(*([receipt.digest for receipt in made[name].shards] for name in inputs), strict=True)
    return dict(zip(families, [(receipt.name, receipt.digest) for receipt in made[stage].shards], strict=True))


def walk(wanted: int, first: int = 0) -> Counter[str]:
    """How often what happened, in as many lives of a dataset as take so many steps together. A life follows a seed,
    since where `CI` is set hypothesis would begin each of them alike.
    """
    Changes.done = Counter()
    pa.set_cpu_count(1)  # tables of ten rows gain nothing from threads
    with inline(), small_shards():
        for life in itertools.count(first):
            run_state_machine_as_test(
                seed(life)(Changes),
                settings=settings(
                    max_examples=4, stateful_step_count=40, deadline=None, database=None, derandomize=False,
                    suppress_health_check=list(HealthCheck), phases=[Phase.generate],
                ),
            )  # fmt: skip
            print(f"seed {life}, {steps(Changes.done)} steps: {dict(Changes.done)}", flush=True)
            if steps(Changes.done) >= wanted:
                break
    return Changes.done


def steps(done: Counter[str]) -> int:
    return done.total() - done["refused"]  # which are builds too


@pytest.mark.timeout(1800)
def test_any_change_and_any_kill_ends_in_the_release_of_a_full_rebuild():
    done = walk(300)
    assert done["kill"] >= 10 and done["build"] >= 50


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
def test_ten_thousand_changes_and_kills():
    walk(10_000, random.randrange(10**9))
