"""What a plan would cost: rows, shards, bytes and time, reckoned from what the last build made and how long it took.

Shards are named before they are made, so those that lie on the lake already are known. What comes after a step that is
not made yet is not: all of it is counted, which is the most that it can be.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dsray import build
from dsray.lake import shards
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt
from dsray.lake.store import Store
from dsray.planning import Planned
from dsray.recipe import Recipe
from dsray.stages import label
from dsray.stages.step import Made

_READS = {
    "measure": ("collect",), "render": ("collect",), "label": ("collect",),
    "gather": ("collect", "render", "select"), "augment": ("gather",), "moments": ("gather",),
}  # fmt: skip
"""Stages that make a shard of each shard of others; the rows of the last are those that go in."""
_ROUNDS = ("select",)
"""Stages that look through all rows, though they write what is new only."""
_FIXED = ("train", "synthesize", "evaluate")
"""Stages whose time does not follow the rows that go in."""
_BESIDE = {"render": "measure"}
"""A stage whose shards another one makes on its way."""


@dataclass(frozen=True)
class Estimate:
    """What one step would make, or all together. `seconds` and `bytes` are None where nothing was measured."""

    rows: int
    shards: int
    reused: int  # shards
    bytes: int | None
    seconds: float | None
    most: bool  # it may be less


@dataclass(frozen=True)
class _Share:
    """How much of a step is made, and how many rows it has then for one that it had."""

    made: float
    growth: float
    rows: int = 0  # that go in, of as many shards, of which some are lacking; where that is known
    shards: int = 0
    lacking: int | None = None


def estimates(planned: Sequence[Planned], recipe: Recipe, store: Store) -> dict[str, Estimate]:
    """Step → what it would cost, of all that would run. Reads manifests, and looks for shards; makes nothing."""
    spent = build.spent(recipe, store)
    made = {one.name: one.manifest for one in planned if one.manifest}
    shares: dict[str, _Share] = {}
    found: dict[str, Estimate] = {}
    for one in planned:
        if one.state == "reuse":
            shares[one.name] = _Share(0, 1)
            continue
        if one.state == "unknown":
            share = _Share(shares[one.after].made, shares[one.after].growth * _let_in(planned, one.after))
        else:
            share = _share(one, made, recipe, store)
        shares[one.name] = share
        taken = spent.get(one.name)
        beside = found.get(_BESIDE.get(one.name, ""))
        if beside and beside.seconds is not None and not (taken and taken["made"]):
            taken = {"seconds": 0.0, "made": 1, "rows": 1}  # its time is in that of the other
        found[one.name] = _estimate(one, share, taken)
    return found


def total(found: Mapping[str, Estimate]) -> Estimate:
    """All steps together, as far as they are known."""
    every = list(found.values())
    return Estimate(
        sum(one.rows for one in every), sum(one.shards for one in every), sum(one.reused for one in every),
        _known(one.bytes for one in every), _known(one.seconds for one in every), any(one.most for one in every),
    )  # fmt: skip


def told(one: Estimate) -> str:
    """`about 1,234 rows in 12 shards, 34 MB, 2 min`"""
    if not (one.shards or one.reused):
        return "no estimate: not made here before"
    words = [f"{'up to' if one.most else 'about'} {one.rows:,} rows in {one.shards:,} shard{'s' * (one.shards != 1)}"]
    words += [size(one.bytes)] if one.bytes is not None else []
    words += [_time(one.seconds)] if one.seconds is not None else []
    return ", ".join(words)


def start(recipe: Recipe, store: Store) -> float:
    """Seconds that Ray took to start when the dataset was last made here; 0 where nobody measured it."""
    return build.spent(recipe, store).get(build.START, {}).get("seconds", 0.0)


def sentence(found: Mapping[str, Estimate], start: float = 0.0) -> str:
    """What all steps would make together, and which of them nobody has measured yet. `start`: seconds before them."""
    if not found:
        return "Nothing to do."
    unmeasured = [name for name, one in found.items() if one.seconds is None]
    if len(unmeasured) == len(found):
        return "No estimate: this dataset was never made here."
    without = f", without the time of {', '.join(unmeasured)}: never measured here" if unmeasured else ""
    before = f"; Ray's start takes {_time(start)} more" if start >= 1 else ""
    return f"Would make {told(total(found))}, in {len(found)} step{'s' * (len(found) != 1)}{without}{before}."


def document(planned: Sequence[Planned], found: Mapping[str, Estimate], start: float = 0.0) -> dict[str, Any]:
    """A plan for programs: JSON."""
    steps = [
        {"name": one.name, "state": one.state, "why": one.why, **(asdict(found[one.name]) if one.name in found else {})}
        for one in planned
    ]
    return {"up_to_date": not found, "steps": steps, "total": asdict(total(found)), "start_s": start}


def size(count: int) -> str:
    """Bytes as a person reads them: `34 MB`"""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:,.1f} {unit}" if count < 10 * factor else f"{count / factor:,.0f} {unit}"
    return f"{count} bytes"


def _share(one: Planned, made: Made, recipe: Recipe, store: Store) -> _Share:
    """Of a step whose inputs are known."""
    assert one.step
    stage, before = one.step.stage, one.before
    names = _names(one, made, recipe)
    if names is not None:
        known = {receipt.name for receipt in before.shards} if before else set()
        asked = [name for name in names if name not in known]
        known |= shards.there(store, asked)
        rows = [_kept(receipt) for receipt in made[_READS[stage][-1]].shards]
        lacking = [count for name, count in zip(names, rows, strict=True) if name not in known]
        return _Share(sum(lacking) / max(1, sum(rows)), _growth(sum(rows), before), sum(rows), len(names), len(lacking))
    changed = 1.0
    if before and stage in _ROUNDS and (before.params, before.version) == (one.step.params, one.step.version):
        changed = len(set(one.step.inputs) - set(before.inputs)) / max(1, len(one.step.inputs))
    rows_in = made["measure"].counts["kept"] if stage in _ROUNDS else 0
    return _Share(changed, _growth(rows_in, before))


def _names(one: Planned, made: Made, recipe: Recipe) -> list[str] | None:
    """The shards that a step consists of, where that is known before."""
    assert one.step
    if one.step.stage == "label":
        return label.names_of(one.step, made, recipe)
    if one.step.stage not in _READS:
        return None
    return one.step.names(*(made[name].shards for name in _READS[one.step.stage]))


def _growth(rows: int, before: Manifest | None) -> float:
    """Rows that go in, for each that went into the last build's."""
    then = before.counts.get("in", 0) if before else 0
    return rows / then if rows and then else 1.0


def _let_in(planned: Sequence[Planned], name: str) -> float:
    """Rows that a step may keep, for each that it kept: other rules may let all of them in."""
    before = next(one.before for one in planned if one.name == name)
    if name not in _ROUNDS or before is None or not before.counts["kept"]:
        return 1.0
    return before.counts["in"] / before.counts["kept"]


def _kept(receipt: Receipt) -> int:
    return receipt.counts.get("kept", receipt.rows)


def _estimate(one: Planned, share: _Share, spent: Mapping[str, float] | None) -> Estimate:
    stage, before = one.name.split()[0], one.before
    partly = stage in _READS or stage in _ROUNDS
    part = share.made if partly else 1.0
    growth, of = 1.0 if stage in _FIXED else share.growth, before.shards if before else []
    rows = growth * sum(receipt.rows for receipt in of) if before else share.rows
    every = growth * len(of) if share.lacking is None else share.shards
    lacking = max(int(part > 0 and every > 0), round(part * every)) if share.lacking is None else share.lacking
    size = round(part * growth * sum(receipt.bytes for receipt in of)) if of else None
    seconds = None
    if spent and stage in _FIXED:
        seconds = spent["seconds"]
    elif spent and stage in _READS:
        seconds = spent["seconds"] * part * rows / spent["made"] if spent["made"] else None
    elif spent and spent["rows"]:
        seconds = spent["seconds"] * rows / spent["rows"]
    return Estimate(round(part * rows), lacking, max(0, round(every) - lacking), size, seconds, one.state == "unknown")


def _known(values: Iterable[Any]) -> Any:
    """The sum of those that are known; None when none is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 1 else "less than 1 s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
