"""What a build would do, and why: each step is reused, made, or not known yet. Reads manifests only."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsray.build import check, last_of, stages
from dsray.changed import changes
from dsray.lake import manifests, tombstones
from dsray.lake.manifests import Manifest
from dsray.lake.store import Store
from dsray.recipe import Recipe
from dsray.stages import select
from dsray.stages.retrain import Standing
from dsray.stages.step import Step

if TYPE_CHECKING:
    from dsray.stages.choose.whatif import Counts

_LAST = ("evaluate", "release")
"""They take what was made of several steps, so they are known when all these are."""


@dataclass(frozen=True)
class Planned:
    """A step of a plan. `why` says what changed; `manifest` is there when the step is reused, `before` is that of the
    last build when it is not."""

    name: str
    state: str  # reuse, make, or unknown: its inputs are not made yet
    why: str
    manifest: Manifest | None = None
    step: Step | None = None
    before: Manifest | None = None
    after: str = ""  # of an unknown one: the step that it waits for


class _UnmadeError(Exception):
    """The step of this name is not made yet."""


class _Planning(dict[str, Manifest]):
    """The manifests that stand; whoever reads another cannot be planned yet."""

    def __missing__(self, name: str) -> Manifest:
        raise _UnmadeError(name)


def plan(recipe: Recipe, store: Store) -> list[Planned]:
    """What a build would do, and why. Reads manifests only."""
    check(recipe)
    last = last_of(recipe, store)
    made = _Planning()
    planned: list[Planned] = []
    missing = ""
    forgotten = tombstones.load(store)
    standing = Standing(store, last.get("steps", {}), forgotten.models)
    crawl, revisit = last.get("crawl", 0), last.get("revisit", "all")
    for name, step_of, _ in stages(recipe, crawl, revisit, standing=standing, forgotten=forgotten):
        try:
            if missing and name in _LAST:
                raise _UnmadeError(missing)
            step = step_of(recipe, made)
        except _UnmadeError as unmade:
            before = _made_last(last, name, store)
            planned.append(Planned(name, "unknown", f"after {unmade}", before=before, after=str(unmade)))
            continue
        found = manifests.find(store, step.stage, step.key)
        if found:
            made[name] = found
            planned.append(Planned(name, "reuse", step.note, found, step))
        else:
            before = _made_last(last, name, store)
            gone = None if before else last.get("steps", {}).get(name)
            why = f"stages/{step.stage}/{gone}.json is gone" if gone else _why(step, before)
            planned.append(Planned(name, "make", why, step=step, before=before))
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
        key = select.step(recipe, made, forgotten).key
        return key, counts_of(made["select"]) if "select" in made else whatif(recipe, made, store)

    forgotten = tombstones.load(store)
    then = counts(after)
    now = counts(before) if then else None
    return (now[1], then[1]) if now and then and now[0] != then[0] else None


def _made_last(last: dict[str, Any], name: str, store: Store) -> Manifest | None:
    """What the last build had for a step."""
    key = last.get("steps", {}).get(name)
    return manifests.find(store, name.split()[0], key) if key else None


def _why(step: Step, before: Manifest | None) -> str:
    """What is different from the last build's step of this name."""
    if before is None:
        return "never made"
    if before.version != step.version:
        return f"version {before.version} → {step.version}"
    reasons = [step.note] if step.note else []
    reasons += map(str, changes(before.params, step.params))
    if before.inputs != step.inputs:
        new = len(set(step.inputs) - set(before.inputs))
        reasons.append(f"{new} of {len(step.inputs)} inputs changed")
    return ", ".join(reasons[:4]) + (f" and {len(reasons) - 4} more" if len(reasons) > 4 else "")
