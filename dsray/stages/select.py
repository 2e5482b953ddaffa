"""facts + labels → verdicts: every row kept, or quarantined by the first rule that it fails. Never reads a payload."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dsray import keys, rng, schema
from dsray.lake import shards as lake_shards
from dsray.lake import tombstones
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt, name_of
from dsray.lake.store import Store
from dsray.lake.tombstones import Tombstones
from dsray.recipe import Recipe
from dsray.stages.choose.decision import Decision, decide, receipts, write
from dsray.stages.choose.rules import Judge, failures
from dsray.stages.choose.splits import fall, numbers
from dsray.stages.choose.state import Family
from dsray.stages.step import Made, Step, Work, digests, total

VERSION = 2

RAW_COLUMNS = ["id", "error", "evidence"]


def step(recipe: Recipe, made: Made, forgotten: Tombstones | None = None) -> Step:
    params = {"select": recipe.select.model_dump(mode="json"), "seed": recipe.seed}
    if forgotten and forgotten.signatures and recipe.select.duplicates.radius is not None:
        params["forgotten"] = list(forgotten.signed)  # the orders: with none, keys are as they always were
    return Step("select", "select", VERSION, params, [*digests(made["measure"]), *digests(made["label"])])


def run(step: Step, made: Made, work: Work) -> Manifest:
    """First what all rows together tell, in rounds on the cluster; then the verdicts, shard by shard. A shard of
    verdicts is named by its own rows and what the rounds found for them: others may change without it."""
    from dsray.engine import shards
    from dsray.engine.exchange import Cluster

    cluster, families = Cluster(), families_of(made)
    recrawled = made["collect"].details.get("recrawled", ())
    say = partial(work.progress.show, 0, None)
    signatures = tombstones.load(work.store).signatures if "forgotten" in step.params else ()
    found = decide(families, work.recipe, work.store, cluster, recrawled, say, signatures)
    inputs = list(zip(found.states, found.groups, strict=True))
    written = cluster.each(inputs, partial(write, store=work.store, split_told=found.split_told))
    outcome = receipts(cluster.fetch(written))
    params = {"judge": found.judge.words(), "select": rest(work.recipe), "weights": found.weights}
    works = []
    for number, family in enumerate(families):
        of_shard = [*family, *([outcome[number]] if number in outcome else [])]
        name = name_of("select", keys.key("select", VERSION, params, [receipt.digest for receipt in of_shard]))
        columns: list[Sequence[str] | None] = [RAW_COLUMNS, fact_columns(found.judge), None, None]
        works.append(shards.Work(name, list(zip(of_shard, columns, strict=False))))
    fn = verdicts_of(work.recipe, found)
    progress = work.progress.rows(made["measure"].counts["kept"])
    made_shards = shards.map_shards(work.store, works, fn, progress, work.known(step.name), light=True)
    counts = {name: total(made_shards, name) for name in ("in", "kept", "quarantined")}
    counted = Counter[str]()
    for receipt in made_shards:
        counted.update(receipt.counts)
    details = {
        "quarantine": quarantined(counted),
        "classes": _classes(made_shards, work.store),
        "judge": found.judge.words(),
    }
    return step.manifest(made_shards, counts, details)


def families_of(made: Made) -> list[Family]:
    """Raw, facts and labels of each shard."""
    return list(zip(made["collect"].shards, made["measure"].shards, made["label"].shards, strict=True))


def fact_columns(judge: Judge) -> list[str]:
    return list(dict.fromkeys(["id", "error", *judge.signals()]))


def rest(recipe: Recipe) -> dict[str, Any]:
    """What verdicts depend on besides rules and outcomes: who falls where by its own number."""
    return {"split": recipe.select.split.model_dump(mode="json"), "seed": recipe.seed}


def verdicts_of(recipe: Recipe, found: Decision) -> Callable[..., tuple[pa.Table, dict[str, int]]]:
    """`verdicts` with all that a decision and a recipe say."""
    split = {name: getattr(recipe.select.split, name) for name in schema.SPLITS}
    return partial(verdicts, judge=found.judge, split=split, seed=recipe.seed, weights=found.weights)


def verdicts(
    raw: pa.Table,
    facts: pa.Table,
    labels: pa.Table,
    outcome: pa.Table | None = None,
    *,
    judge: Judge,
    split: Mapping[str, float],
    seed: int,
    weights: Mapping[str, float] | None = None,
    careful: bool = False,
) -> tuple[pa.Table, dict[str, int]]:
    """One verdict per row: its own rules', then what `outcome` says of it."""
    rows = facts.num_rows
    failed = failures(raw, facts, labels, judge)
    told = _spread(outcome, rows)
    by_round = told["rule"].is_valid()
    rule, value, threshold = (pc.if_else(by_round, told[name], failed[name]) for name in ("rule", "value", "threshold"))
    kept = pc.is_null(rule)
    cluster = pc.coalesce(told["cluster"], facts["id"])
    own = fall(numbers(rng.keys_of(cluster.to_pylist()), seed), split)
    splits = pc.if_else(kept, pc.coalesce(told["split"], pa.array(own, pa.string())), None)
    weight = _weights(labels["label"], pc.fill_null(pc.equal(splits, "train"), False), weights)
    columns = [facts["id"], kept, rule, value, threshold, labels["label"], labels["objects"], cluster, splits, weight]
    table = pa.table(columns, schema=schema.VERDICTS).combine_chunks()
    counts = Counter(f"rule:{name}" for name in rule.to_pylist() if name is not None)
    return table, {"in": rows, "kept": rows - counts.total(), "quarantined": counts.total(), **counts}


def _spread(outcome: pa.Table | None, rows: int) -> pa.Table:
    """The outcome of every row, null where there is none."""
    names = ("rule", "value", "threshold", "cluster", "split")
    if outcome is None:
        return pa.table({name: pa.nulls(rows, pa.string()) for name in names})
    at_N = np.full(rows, -1)
    at_N[outcome["row"].to_numpy()] = np.arange(outcome.num_rows)
    return outcome.select(names).combine_chunks().take(pa.array(at_N, mask=at_N < 0))


def _weights(label: pa.ChunkedArray, train: pa.ChunkedArray, weights: Mapping[str, float] | None) -> pa.Array:
    """Of training rows with a label; null for all others, and for all where nothing is weighed."""
    if weights is None:
        return pa.nulls(len(label), pa.float64())
    pairs = zip(label.to_pylist(), train.to_pylist(), strict=True)
    return pa.array([weights.get(name) if drawn and name is not None else None for name, drawn in pairs], pa.float64())


def quarantined(counted: Mapping[str, int]) -> dict[str, int]:
    """Rule → rows, most first, from the counts of verdicts."""
    found = {name.removeprefix("rule:"): count for name, count in counted.items() if name.startswith("rule:")}
    return dict(by_count(found))


def by_count(quarantine: dict[str, int]) -> list[tuple[str, int]]:
    """Rules with their rows, most first."""
    return sorted(quarantine.items(), key=lambda item: (-item[1], item[0]))


def _classes(receipts: list[Receipt], store: Store) -> dict[str, dict[str, int]]:
    """Class → split → rows. From the shards: a receipt has no room for the counts of many classes."""
    return classes_of(lake_shards.each(store, receipts, ["split", "label"], ahead=16))


def classes_of(tables: Any) -> dict[str, dict[str, int]]:
    """Class → split → rows, of verdicts."""
    counts: Counter[tuple[str, str]] = Counter()
    for table in tables:
        kept = table.filter(pc.is_valid(table["split"])).group_by(["label", "split"]).aggregate([([], "count_all")])
        for row in kept.to_pylist():
            counts[str(row["label"]), row["split"]] += row["count_all"]
    classes: dict[str, dict[str, int]] = {}
    for (label, split), count in sorted(counts.items()):
        classes.setdefault(label, {})[split] = count
    return classes
