"""facts + labels → verdicts: every row kept, or quarantined by the first rule that it fails. Never reads a payload."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dsray import keys, rng, schema
from dsray.kinds import kind
from dsray.lake import shards as lake_shards
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt, name_of
from dsray.lake.store import Store
from dsray.recipe import Recipe
from dsray.selection import Rule
from dsray.stages import superseded, twins
from dsray.stages.step import Made, Step, Work, digests, total
from dsray.stages.superseded import Superseded
from dsray.stages.twins import Twin

VERSION = 2

_RAW_COLUMNS = ["id", "error", "evidence", "fetched_at"]
_PARTITION_ROWS = 500_000


def step(recipe: Recipe, made: Made) -> Step:
    params = {
        "select": recipe.select.model_dump(mode="json"),
        "rules": recipe.select.drop.ranges(),
        "seed": recipe.seed,
    }
    return Step("select", "select", VERSION, params, [*digests(made["measure"]), *digests(made["label"])])


def run(step: Step, made: Made, work: Work) -> Manifest:
    """Rules on each row, then duplicates among the rows that pass, then splits by duplicate cluster."""
    from dsray.engine import shards
    from dsray.engine.exchange import exchange

    families = list(zip(made["collect"].shards, made["measure"].shards, made["label"].shards, strict=True))
    drop, duplicates = work.recipe.select.drop, work.recipe.select.duplicates
    old = superseded.find(made["collect"].shards, work.store, made["collect"].details.get("recrawled", ()))
    rules = partial(failures, rules=drop.ranges(), unlabelled=drop.unlabelled, old=old)
    twin_rows: Mapping[str, Twin] = {}
    if families and (duplicates.exact or duplicates.radius is not None):
        work.progress.show(0, None, "looking for duplicates")
        found = exchange(
            families,
            partial(
                _candidates,
                store=work.store,
                rules=rules,
                exact=duplicates.exact,
                radius=duplicates.radius,
                quality=kind(work.recipe.kind).QUALITY,
            ),
            twins.KEY,
            partial(twins.edges, radius=duplicates.radius),
            partitions=1 + made["measure"].counts["kept"] // _PARTITION_ROWS,
        )
        twin_rows = twins.resolve(found)
    works = [
        shards.Work(
            name_of("select", keys.key("select", VERSION, {"step": step.key}, [r.digest for r in family])),
            [(family[0], _RAW_COLUMNS), (family[1], None), (family[2], None)],
        )
        for family in families
    ]
    split = work.recipe.select.split.model_dump()
    fn = partial(
        verdicts, rules=rules, twin_rows=twin_rows, split=split, seed=work.recipe.seed, radius=duplicates.radius
    )
    receipts = shards.map_shards(work.store, works, fn, work.progress.rows(made["measure"].counts["kept"]))
    counts = {name: total(receipts, name) for name in ("in", "kept", "quarantined")}
    rules_counted = Counter[str]()
    for receipt in receipts:
        rules_counted.update(receipt.counts)
    quarantine = {name.removeprefix("rule:"): count for name, count in rules_counted.most_common() if ":" in name}
    return step.manifest(receipts, counts, {"quarantine": quarantine, "classes": _classes(receipts, work.store)})


def failures(
    raw: pa.Table,
    facts: pa.Table,
    labels: pa.Table,
    *,
    rules: Sequence[Rule],
    unlabelled: bool,
    old: Superseded = superseded.NONE,
) -> pa.Table:
    """[rule, value, threshold] of the first rule that each row fails, null where it passes all."""
    rows = facts.num_rows
    rule, value, threshold = (np.full(rows, None, object) for _ in range(3))

    def fail(failed_N: np.ndarray[Any, Any], name: Any, values: Sequence[Any], limit: str) -> None:
        for row in np.flatnonzero(failed_N & (rule == None)).tolist():  # noqa: E711  # elementwise
            rule[row], value[row], threshold[row] = (name[row] if isinstance(name, list) else name), values[row], limit

    newer = superseded.flags(raw, old)
    fail(np.array([one is not None for one in newer]), "superseded", newer, "the newest row of its URL")
    refused, evidence = raw["error"].to_pylist(), [_short(text) for text in raw["evidence"].to_pylist()]
    fail(np.array([e is not None for e in refused]), refused, evidence, "")
    broken = facts["error"].to_pylist()
    fail(np.array([e is not None for e in broken]), "undecodable", broken, "decodable")
    for name, signal, low, high in rules:
        found_N = facts[signal].to_numpy(zero_copy_only=False).astype(np.float64)
        shown = [f"{number:.6g}" for number in found_N]
        with np.errstate(invalid="ignore"):
            if low is not None:
                fail(found_N < low, name, shown, f"min {low:g}")
            if high is not None:
                fail(found_N > high, name, shown, f"max {high:g}")
    if unlabelled:
        names = labels["label"].to_pylist()
        fail(np.array([name is None for name in names]), "unlabelled", names, "a label")
    return pa.table(
        [pa.array(column, pa.string()) for column in (rule, value, threshold)], ["rule", "value", "threshold"]
    )


def _short(evidence: str | None) -> str | None:
    """The signal and its value; where it was seen stays in the raw row."""
    if evidence is None:
        return None
    found = json.loads(evidence)
    return f"{found.get('signal')}: {found.get('value')}"


def verdicts(
    raw: pa.Table,
    facts: pa.Table,
    labels: pa.Table,
    *,
    rules: Any,
    twin_rows: Mapping[str, Twin],
    split: dict[str, float],
    seed: int,
    radius: int | None,
    careful: bool = False,
) -> tuple[pa.Table, dict[str, int]]:
    """One verdict per row, with its duplicate cluster and, when kept, its split."""
    failed = rules(raw, facts, labels)
    rule, value, threshold = (failed[name].to_pylist() for name in ("rule", "value", "threshold"))
    ids = facts["id"].to_pylist()
    clusters = list(ids)
    for row, row_id in enumerate(ids):
        if rule[row] is None and (twin := twin_rows.get(row_id)):
            clusters[row] = twin.cluster
            if twin.rule:
                rule[row], value[row] = twin.rule, twin.of
                threshold[row] = "same bytes" if twin.rule == "exact_duplicate" else f"radius {radius}"
    splits_N = _splits(clusters, split, seed)
    kept = [name is None for name in rule]
    label = labels["label"].to_pylist()
    splits = [s if k else None for s, k in zip(splits_N, kept, strict=True)]
    weights = pa.nulls(len(ids), pa.float64())
    table = pa.table(
        [ids, kept, rule, value, threshold, label, labels["objects"], clusters, splits, weights],
        schema=schema.VERDICTS,
    )
    counts = Counter(f"rule:{name}" for name in rule if name is not None)
    return table, {"in": len(ids), "kept": sum(kept), "quarantined": len(ids) - sum(kept), **counts}


def _candidates(
    family: tuple[Receipt, Receipt, Receipt], *, store: Store, rules: Any, exact: bool, radius: int | None, quality: str
) -> pa.Table:
    """The rows of a shard that pass all rules, once for each key under which a duplicate would be met."""
    raw, facts, labels = (
        lake_shards.read(store, receipt, columns)
        for receipt, columns in zip(family, (_RAW_COLUMNS, None, None), strict=True)
    )
    passed = facts.filter(pc.is_null(rules(raw, facts, labels)["rule"]))
    return twins.keyed(passed, exact, radius, quality)


def _splits(clusters: list[str], split: dict[str, float], seed: int) -> list[str]:
    """A cluster falls where its own number in [0, 1) says, so data that is added moves nobody."""
    u_N = rng.uniform(seed, "split", rng.keys_of(clusters))[:, 0]
    edges = np.cumsum([split[name] for name in schema.SPLITS])[:-1]
    return [schema.SPLITS[index] for index in np.searchsorted(edges, u_N, side="right")]


def by_count(quarantine: dict[str, int]) -> list[tuple[str, int]]:
    """Rules with their rows, most first."""
    return sorted(quarantine.items(), key=lambda item: (-item[1], item[0]))


def _classes(receipts: list[Receipt], store: Store) -> dict[str, dict[str, int]]:
    """Class → split → rows. From the shards: a receipt has no room for the counts of many classes."""
    counts: Counter[tuple[str, str]] = Counter()
    with ThreadPoolExecutor(16) as pool:
        for table in pool.map(lambda receipt: lake_shards.read(store, receipt, ["split", "label"]), receipts):
            kept = table.filter(pc.is_valid(table["split"])).group_by(["label", "split"]).aggregate([([], "count_all")])
            for row in kept.to_pylist():
                counts[str(row["label"]), row["split"]] += row["count_all"]
    classes: dict[str, dict[str, int]] = {}
    for (label, split), count in sorted(counts.items()):
        classes.setdefault(label, {})[split] = count
    return classes
