"""All that only all rows together can tell, in rounds: what is superseded, where thresholds lie, who doubles whom, what
a cap leaves, who falls into which split. What comes out of it lies with the rows that it concerns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dsray.engine.exchange import Exchange, Handle
from dsray.errors import RecipeError
from dsray.kinds import kind
from dsray.lake import shards
from dsray.lake.shards import Receipt
from dsray.lake.store import Store
from dsray.recipe import Recipe
from dsray.selection import Select
from dsray.stages.choose import caps, rules, splits, superseded, survey, twins
from dsray.stages.choose.forgotten import Near
from dsray.stages.choose.rules import Judge
from dsray.stages.choose.state import Family, Group, Reader, facts, groups_of, packed_hex, state
from dsray.stages.choose.twins import Orientations

FOLDER = "shards/choose"

_OUTCOME = pa.schema(
    [(name, pa.string()) for name in ("rule", "value", "threshold", "cluster", "split")] + [("row", pa.int64())]
)
"""What the rounds found for rows of one shard; null where a row can tell by itself."""
_WRITTEN = pa.schema(
    [("shard", pa.int64()), ("name", pa.string()), ("digest", pa.string()), ("rows", pa.int64()), ("bytes", pa.int64())]
)


@dataclass(frozen=True)
class Decision:
    """Rules with their numbers, and the groups of shards with their states."""

    judge: Judge
    groups: list[Group]
    states: list[Handle]
    weights: dict[str, float] | None
    split_told: bool  # whether the split is in the states, or follows from the cluster


def decide(
    families: Sequence[Family], recipe: Recipe, store: Store, exchange: Exchange, recrawled: Sequence[str],
    say: Callable[[str], None] = lambda _: None, forgotten: Sequence[int] = (),
) -> Decision:  # fmt: skip
    """Looks through the facts and labels of all shards. `forgotten`: the signatures of what was."""
    select, groups = recipe.select, groups_of(families, exchange.width) if families else []
    reader, total = reader_of(recipe, store), sum(raw.rows for raw, _, _ in families)
    judge = rules.judge(select)
    if not families:
        return Decision(judge, [], [], None, False)
    old = superseded.find(exchange, groups, store, recrawled)
    inputs = list(zip(groups, old, strict=True))
    if select.drop.quantiles() or select.outliers:
        say("looking where thresholds lie")
        judge = survey.settle(judge, select, exchange, inputs, partial(facts, reader=reader))
    states = exchange.each(inputs, partial(state, reader=reader, judge=judge))
    if forgotten and reader.signed:
        near = Near(np.array(forgotten, np.uint64), select.duplicates.radius or 0, turned(recipe))
        states = exchange.each([(one,) for one in states], near)
    if select.duplicates.exact or select.duplicates.radius is not None:
        say("looking for duplicates")
        states = twins.find(exchange, states, total, select.duplicates, turned(recipe))
    if select.cap or select.balance:
        say("counting classes, hosts and sources")
        states = caps.limit(exchange, states, total, select, recipe.seed)
    shares = {name: getattr(select.split, name) for name in ("train", "validation", "test")}
    told = select.split.by != "cluster" or select.split.stratify
    if told or select.weights:
        say("splitting")
        split = select.split
        states = splits.assign(exchange, states, total, shares, split.by, split.stratify, recipe.seed)
    return Decision(judge, groups, states, weights_of(exchange, states, select), told)


def reader_of(recipe: Recipe, store: Store) -> Reader:
    """Reads what this recipe's rounds need."""
    select, cap = recipe.select, recipe.select.cap
    duplicates, by = select.duplicates, select.split.by
    hosts, sources = (cap and cap.host) or by == "host", (cap and cap.source) or by == "source"
    return Reader(
        store,
        duplicates.keep or kind(recipe.kind).QUALITY,
        duplicates.exact,
        duplicates.radius is not None,
        by,
        [*(["url"] if hosts else []), *(["source"] if sources else [])],
    )


def turned(recipe: Recipe) -> Orientations | None:
    """The kind's eight orientations of a signature, if the recipe asks for them."""
    duplicates = recipe.select.duplicates
    if not duplicates.orientations or duplicates.radius is None:
        return None
    found = getattr(kind(recipe.kind), "orientations", None)
    if found is None:
        raise RecipeError(f"The kind {recipe.kind} knows no orientations.", "Take out select.duplicates.orientations.")
    turns: Orientations = found
    return turns


def weights_of(exchange: Exchange, states: Sequence[Handle], select: Select) -> dict[str, float] | None:
    """Class → weight of its training rows: count^-power, 1 on average over the rows."""
    if select.weights is None:
        return None
    counts = caps.class_rows(exchange, states, "train")
    plain = {label: rows**-select.weights.power for label, rows in sorted(counts.items())}
    mean = sum(plain[label] * counts[label] for label in plain) / max(1, sum(counts.values()))
    return {label: weight / mean for label, weight in plain.items()}


def outcomes(state: pa.Table, group: Group, split_told: bool) -> dict[int, pa.Table]:
    """Shard → its rows that cannot tell their verdict by themselves: [row, rule, value, threshold, cluster, split]."""
    concerned = pc.or_(state["rule"].is_valid(), pc.not_equal(state["cluster"], state["id"]))
    rows = state if split_told else state.filter(concerned)
    place = rows["place"].to_numpy()
    split = rows["split"] if split_told else pa.nulls(rows.num_rows, pa.string())
    cluster = packed_hex(rows["cluster"])
    at = pa.array((place & 0xFFFFFFFF).astype("int64"))
    table = pa.table([rows["rule"], rows["value"], rows["threshold"], cluster, split, at], schema=_OUTCOME)
    numbers = place >> 32
    found = {shard: table.filter(pa.array(numbers == shard)).combine_chunks() for shard, _ in group}
    return {shard: part for shard, part in found.items() if part.num_rows}


def write(state: pa.Table, group: Group, *, store: Store, split_told: bool) -> pa.Table:
    """Puts the outcomes of a group of shards, named by their own bytes; returns their receipts."""
    receipts = [
        {"shard": shard, **vars(shards.write_named(store, FOLDER, table))}
        for shard, table in outcomes(state, group, split_told).items()
    ]
    return pa.Table.from_pylist([{k: r[k] for k in _WRITTEN.names} for r in receipts], schema=_WRITTEN)


def receipts(written: Sequence[pa.Table]) -> dict[int, Receipt]:
    """Shard → the receipt of its outcomes, for those that have any."""
    rows = pa.concat_tables(written).to_pylist() if written else []
    return {row["shard"]: Receipt(row["name"], row["digest"], row["rows"], row["bytes"]) for row in rows}
