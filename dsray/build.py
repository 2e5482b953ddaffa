"""The stages in order: what exists is reused, what is missing is made, and only then Ray is started."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from dsray import plugin
from dsray.errors import RecipeError
from dsray.lake import manifests, refs
from dsray.lake.manifests import Manifest
from dsray.lake.store import Store
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
)
from dsray.stages.step import Made, Progress, Step, Work

if TYPE_CHECKING:
    from crawlers.status import Status
    from dsray.stages.choose.whatif import Counts

_LAST = ("evaluate", "release")
"""They take what was made of several steps, so they are known when all these are."""

StepOf = Callable[[Recipe, Made], Step]
Run = Callable[[Step, Made, Work], Manifest]


class Listener(Protocol):
    """Who watches a build."""

    def started(self, step: str) -> None: ...
    def progress(self, step: str, done: int, total: int | None, note: str) -> None: ...
    def finished(self, step: str, manifest: Manifest, seconds: float, reused: bool) -> None: ...


@dataclass(frozen=True)
class Planned:
    """A step of a plan. `why` says what changed; `manifest` is there when the step is reused."""

    name: str
    state: str  # reuse, make, or unknown: its inputs are not made yet
    why: str
    manifest: Manifest | None = None


@dataclass(frozen=True)
class Outcome:
    """What a build came to."""

    made: dict[str, Manifest] = field(default_factory=dict)
    reused: set[str] = field(default_factory=set)

    @property
    def up_to_date(self) -> bool:
        return len(self.made) == len(self.reused)


def stages(
    recipe: Recipe, crawl: int = 0, revisit: str = "all", accept: str | None = None
) -> list[tuple[str, StepOf, Run]]:
    """(name, what it would make, how) of all that the recipe asks for, in the order of a dataset's life."""
    chain: list[tuple[str, StepOf, Run]] = [
        ("collect", partial(collect.step, crawl=crawl, revisit=revisit), collect.run),
        ("measure", measure.step, measure.run),
        ("render", render.step, render.run),
        ("label", label.step, label.run),
        ("select", select.step, select.run),
        ("gather", gather.step, gather.run),
    ]
    if recipe.augment and recipe.augment.any():
        chain.append(("augment", augment.step, augment.run))
    for name in recipe.synthesize:
        chain.append((f"train {name}", partial(train.step, name=name), train.run))
        chain.append((f"synthesize {name}", partial(synthesize.step, name=name), synthesize.run))
    if recipe.release.moments():
        chain.append(("moments", moments.step, moments.run))
    if recipe.synthesize:
        chain.append(("evaluate", evaluate.step, evaluate.run))
    return [*chain, ("release", partial(release.step, accept=accept), release.run)]


def check(recipe: Recipe) -> None:
    """What a recipe's model cannot know by itself; raises RecipeError before anything starts."""
    synthesize.check(recipe)
    steps = [*recipe.render.own, *(recipe.augment.own if recipe.augment else [])]
    for function in (*recipe.measure.signals.values(), *(own.function for own in steps)):
        plugin.load(function)
    render.steps(recipe)
    label.check(recipe)
    evaluate.check(recipe)


class _UnmadeError(Exception):
    """The step of this name is not made yet."""


class _Planning(dict[str, Manifest]):
    """The manifests that stand; whoever reads another cannot be planned yet."""

    def __missing__(self, name: str) -> Manifest:
        raise _UnmadeError(name)


def plan(recipe: Recipe, store: Store) -> list[Planned]:
    """What a build would do, and why. Reads manifests only."""
    check(recipe)
    last = _last(recipe, store)
    made = _Planning()
    planned: list[Planned] = []
    missing = ""
    for name, step_of, _ in stages(recipe, last.get("crawl", 0), last.get("revisit", "all")):
        try:
            if missing and name in _LAST:
                raise _UnmadeError(missing)
            step = step_of(recipe, made)
        except _UnmadeError as unmade:
            planned.append(Planned(name, "unknown", f"after {unmade}"))
            continue
        found = manifests.find(store, step.stage, step.key)
        if found:
            made[name] = found
            planned.append(Planned(name, "reuse", "", found))
        else:
            before = last.get("steps", {}).get(name)
            planned.append(
                Planned(name, "make", _why(step, manifests.find(store, step.stage, before) if before else None))
            )
            missing = missing or name
    return planned


def compare(before: Recipe, after: Recipe, store: Store) -> "tuple[Counts, Counts] | None":
    """What `select` keeps and drops with the one recipe and with the other, from facts and labels alone: nothing is
    made, Ray is not started. None where these have to be made first, or where `select` is the same."""
    from dsray.stages.choose.whatif import Counts, counts_of, whatif

    def counts(recipe: Recipe) -> tuple[str, Counts] | None:
        made = {one.name: one.manifest for one in plan(recipe, store) if one.manifest}
        if not made.keys() >= {"collect", "measure", "label"}:
            return None
        key = select.step(recipe, made).key
        return key, counts_of(made["select"]) if "select" in made else whatif(recipe, made, store)

    then = counts(after)
    now = counts(before) if then else None
    return (now[1], then[1]) if now and then and now[0] != then[0] else None


def run(recipe: Recipe, store: Store, listener: Listener, *, address: str | None = None, cpus: int | None = None,
        recrawl: str | None = None, accept: str | None = None, until: str = "release") -> Outcome:  # fmt: skip
    """Brings the dataset up to date, or its stages up to `until`. Stop it at any point and run it again: it goes on
    from what is there. `recrawl` asks the sources anew: `all` that is known, or what is `due` by its schedule.
    `accept` is the reason to release synthetic rows whose gates fail."""
    check(recipe)
    if accept is not None and not accept.strip():
        raise RecipeError("--accept needs a reason.", 'Say why the rows are good enough: --accept "for a smoke test".')
    last = _last(recipe, store)
    crawl, revisit = last.get("crawl", 0), last.get("revisit", "all")
    if recrawl:  # at once, so that a run that is stopped goes on with the new crawl
        crawl, revisit = crawl + 1, recrawl
        refs.update(store, _ref(recipe), lambda value: {**(value or {}), "crawl": crawl, "revisit": revisit})
    outcome = Outcome()
    with ExitStack() as stack:
        connected = False
        for name, step_of, make in stages(recipe, crawl, revisit, accept):
            step = step_of(recipe, outcome.made)
            listener.started(name)
            began = time.monotonic()
            found = manifests.find(store, step.stage, step.key)
            if found is None:
                if not connected:
                    from dsray.engine.connect import connected as ray_session

                    stack.enter_context(ray_session(address, cpus))
                    connected = True
                work = Work(recipe, store, Progress(partial(listener.progress, name)))
                manifest = manifests.publish(store, make(step, outcome.made, work))
            else:
                manifest = found
                outcome.reused.add(name)
            outcome.made[name] = manifest
            listener.finished(name, manifest, time.monotonic() - began, found is not None)
            if name == until:
                break
    if not outcome.up_to_date or last.get("steps") != _keys(outcome):
        steps = {**last.get("steps", {}), **_keys(outcome)} if until != "release" else _keys(outcome)
        refs.update(store, _ref(recipe), lambda _: {"crawl": crawl, "revisit": revisit, "steps": steps})
    return outcome


def crawls(recipe: Recipe, store: Store) -> "list[Status]":
    """How the recipe's crawls stand. Reads the lake only."""
    from crawlers.status import status

    last = _last(recipe, store)
    step = collect.step(recipe, {}, last.get("crawl", 0), last.get("revisit", "all"))
    names = [name for name, source in recipe.collect.items() if source.crawl]
    return [status(collect.crawl_of(name, step, recipe, store)) for name in names]


def _keys(outcome: Outcome) -> dict[str, str]:
    return {name: manifest.key for name, manifest in outcome.made.items()}


def _ref(recipe: Recipe) -> str:
    return f"builds/{recipe.dataset}"


def _last(recipe: Recipe, store: Store) -> dict[str, Any]:
    """The last finished build of this dataset: the number of its crawl, and the keys of its steps."""
    value, _ = refs.get(store, _ref(recipe))
    return value or {}


def _why(step: Step, before: Manifest | None) -> str:
    """What is different from the last build's step of this name."""
    if before is None:
        return "never made"
    if before.version != step.version:
        return f"version {before.version} → {step.version}"
    reasons = list(_differences(before.params, step.params))
    if before.inputs != step.inputs:
        new = len(set(step.inputs) - set(before.inputs))
        reasons.append(f"{new} of {len(step.inputs)} inputs changed")
    return ", ".join(reasons[:4]) + (f" and {len(reasons) - 4} more" if len(reasons) > 4 else "")


def _differences(before: Any, now: Any, path: str = "") -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            yield from _differences(before.get(key), now.get(key), f"{path}.{key}" if path else key)
    elif before != now and not (isinstance(before, list) and list(now or []) == before):
        yield f"{path}: {_short(before)} → {_short(now)}"


def _short(value: Any) -> str:
    text = "unset" if value is None else str(value)
    return text if len(text) <= 40 else text[:37] + "..."
