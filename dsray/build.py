"""The stages in order: what exists is reused, what is missing is made, and only then Ray is started."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from dsray import plugin
from dsray.errors import RecipeError
from dsray.hold import Hold
from dsray.lake import refs, tombstones
from dsray.lake.manifests import Manifest
from dsray.lake.store import Store
from dsray.lake.tombstones import Tombstones
from dsray.recipe import Recipe
from dsray.stages import (
    augment,
    collect,
    evaluate,
    gather,
    label,
    measure,
    moments,
    release,
    render,
    select,
    synthesize,
    train,
    versions,
)
from dsray.stages.retrain import Standing
from dsray.stages.step import Made, Progress, Step, Work

if TYPE_CHECKING:
    from crawlers.status import Status

START = "start of Ray"
"""What a build spends beside its steps."""

StepOf = Callable[[Recipe, Made], Step]
Run = Callable[[Step, Made, Work], Manifest]
Turn = Callable[[Step], AbstractContextManager[Any]]


class Listener(Protocol):
    """Who watches a build."""

    def started(self, step: str) -> None: ...
    def progress(self, step: str, done: int, total: int | None, note: str) -> None: ...
    def finished(self, step: str, manifest: Manifest, seconds: float, reused: bool) -> None: ...


@dataclass(frozen=True)
class Outcome:
    """What a build came to."""

    made: dict[str, Manifest] = field(default_factory=dict)
    reused: set[str] = field(default_factory=set)

    @property
    def up_to_date(self) -> bool:
        return len(self.made) == len(self.reused)


def stages(
    recipe: Recipe, crawl: int = 0, revisit: str = "all", accept: str | None = None, standing: Standing | None = None,
    forgotten: Tombstones | None = None,
) -> list[tuple[str, StepOf, Run]]:  # fmt: skip
    """(name, what it would make, how) of all that the recipe asks for, in the order of a dataset's life."""
    chain: list[tuple[str, StepOf, Run]] = [
        ("collect", partial(collect.step, crawl=crawl, revisit=revisit), collect.run),
        ("measure", measure.step, measure.run),
        ("render", render.step, render.run),
        ("label", label.step, label.run),
        ("select", partial(select.step, forgotten=forgotten), select.run),
        ("gather", gather.step, gather.run),
    ]
    if recipe.augment and recipe.augment.any():
        chain.append(("augment", augment.step, augment.run))
    for name in recipe.synthesize:
        chain.append((f"train {name}", partial(train.step, name=name, standing=standing), train.run))
        chain.append((f"synthesize {name}", partial(synthesize.step, name=name), synthesize.run))
    if recipe.release.moments():
        chain.append(("moments", moments.step, moments.run))
    if recipe.synthesize:
        chain.append(("evaluate", evaluate.step, evaluate.run))
    return [*chain, ("release", partial(release.step, accept=accept, forgotten=forgotten), release.run)]


def check(recipe: Recipe) -> None:
    """What a recipe's model cannot know by itself; raises RecipeError before anything starts."""
    synthesize.check(recipe)
    steps = [*recipe.render.own, *(recipe.augment.own if recipe.augment else [])]
    for function in (*recipe.measure.signals.values(), *(own.function for own in steps)):
        plugin.load(function)
    render.steps(recipe)
    label.check(recipe)
    evaluate.check(recipe)


def run(recipe: Recipe, store: Store, listener: Listener, *, address: str | None = None, cpus: int | None = None,
        recrawl: str | None = None, accept: str | None = None, until: str = "release",
        again: Mapping[str, Any] | None = None, turn: Turn = nullcontext) -> Outcome:  # fmt: skip
    """Brings the dataset up to date, or its stages up to `until`. Stop it at any point and run it again: it goes on
    from what is there. `recrawl` asks the sources anew: `all` that is known, or what is `due` by its schedule.
    `accept` is the reason to release synthetic rows whose gates fail. `again` is an older build, as its ref had it: it
    is made again, and the ref stays with the last one. A step is looked for and made within `turn` of it."""
    check(recipe)
    if accept is not None and not accept.strip():
        raise RecipeError("--accept needs a reason.", 'Say why the rows are good enough: --accept "for a smoke test".')
    if recrawl:
        ask_anew([recipe], store, recrawl)
    last = last_of(recipe, store) if again is None else again
    crawl, revisit = last.get("crawl", 0), last.get("revisit", "all")
    outcome = Outcome()
    with ExitStack() as stack:
        forgotten = tombstones.load(store)
        standing = Standing(store, last.get("steps", {}), forgotten.models)
        hold, connected = Hold(recipe, store, last.get("steps", {}), forgotten, stack), False
        for name, step_of, make in stages(recipe, crawl, revisit, accept, standing, forgotten):
            step = step_of(recipe, outcome.made)
            listener.started(name)
            began = time.monotonic()
            with turn(step):
                found = hold.find(step, outcome.made)
                if found is None:
                    if not connected:
                        from dsray.engine.connect import connected as ray_session

                        started = time.monotonic()
                        stack.enter_context(ray_session(address, cpus))
                        connected = True
                        _note(recipe, store, START, {"seconds": round(time.monotonic() - started, 3)})
                    manifest = _made(step, partial(make, step, outcome.made), recipe, hold, listener)
                else:
                    manifest = found
                    outcome.reused.add(name)
            outcome.made[name] = manifest
            listener.finished(name, manifest, time.monotonic() - began, found is not None)
            if name == until:
                break
        if again is None and (not outcome.up_to_date or last.get("steps") != _keys(outcome)):  # while the lease is held
            hold.check()
            if "release" in outcome.made:  # which may be an older one, of a change that was taken back
                versions.point(store, recipe.dataset, outcome.made["release"].details["version"])
            steps = {**last.get("steps", {}), **_keys(outcome)} if until != "release" else _keys(outcome)
            said = {"crawl": crawl, "revisit": revisit, "steps": steps}
            refs.update(store, _ref(recipe), partial(_moved, said=said))
    return outcome


def _moved(value: refs.Value | None, said: refs.Value) -> refs.Value:
    """The ref of a build that has ended; that of another which asked the sources anew meanwhile stays."""
    old = value or {}
    return old if old.get("crawl", 0) > said["crawl"] else {**old, **said}


def _made(step: Step, make: Callable[[Work], Manifest], recipe: Recipe, hold: Hold, listener: Listener) -> Manifest:
    """Makes a step, and notes what that took where the last build is noted: `plan` reckons with it."""
    rows = 0

    def show(done: int, total: int | None, note: str) -> None:
        nonlocal rows
        rows = done
        listener.progress(step.name, done, total, note)

    began = time.monotonic()
    manifest = hold.publish(make(Work(recipe, hold.store, Progress(show), hold.before)))
    every = sum(receipt.rows for receipt in manifest.shards)
    said = {"seconds": round(time.monotonic() - began, 3), "made": rows, "rows": every}
    _note(recipe, hold.store, step.name, said)
    return manifest


def _note(recipe: Recipe, store: Store, name: str, said: dict[str, float]) -> None:
    def change(value: dict[str, Any] | None) -> dict[str, Any]:
        old = value or {}
        return {**old, "spent": {**old.get("spent", {}), name: said}}

    refs.update(store, _ref(recipe), change)


def ask_anew(recipes: Sequence[Recipe], store: Store, revisit: str) -> None:
    """Has the next build, and each that goes on from it, ask the sources anew; recipes that are given together and have
    the same sources ask them once."""
    crawl = 1 + max(last_of(recipe, store).get("crawl", 0) for recipe in recipes)
    for recipe in recipes:
        refs.update(store, _ref(recipe), lambda value: {**(value or {}), "crawl": crawl, "revisit": revisit})


def spent(recipe: Recipe, store: Store) -> dict[str, dict[str, float]]:
    """Step → seconds when it was last made, the rows that were made then, and all that it has; START → seconds."""
    found: dict[str, dict[str, float]] = last_of(recipe, store).get("spent", {})
    return found


def crawls(recipe: Recipe, store: Store) -> "list[Status]":
    """How the recipe's crawls stand. Reads the lake only."""
    from crawlers.status import status

    last = last_of(recipe, store)
    step = collect.step(recipe, {}, last.get("crawl", 0), last.get("revisit", "all"))
    names = [name for name, source in recipe.collect.items() if source.crawl]
    return [status(collect.crawl_of(name, step, recipe, store)) for name in names]


def _keys(outcome: Outcome) -> dict[str, str]:
    return {name: manifest.key for name, manifest in outcome.made.items()}


def _ref(recipe: Recipe) -> str:
    return f"builds/{recipe.dataset}"


def last_of(recipe: Recipe, store: Store) -> dict[str, Any]:
    """The last finished build of this dataset: the number of its crawl, and the keys of its steps."""
    value, _ = refs.get(store, _ref(recipe))
    if not isinstance((value or {}).get("steps", {}), dict):
        raise refs.broken(store, _ref(recipe))
    return value or {}
