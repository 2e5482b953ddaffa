"""What another recipe's `select` would do: the same rounds and verdicts, in this process and from facts and labels
alone; nothing is written."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dsray.engine.exchange import Here
from dsray.lake import shards, tombstones
from dsray.lake.manifests import Manifest
from dsray.lake.store import Store
from dsray.recipe import Recipe
from dsray.schema import SPLITS
from dsray.stages import select
from dsray.stages.choose.decision import decide, outcomes
from dsray.stages.step import Made

_THREADS = 8


@dataclass(frozen=True)
class Counts:
    """Rows by what becomes of them."""

    quarantine: dict[str, int]
    splits: dict[str, int]

    @property
    def kept(self) -> int:
        return sum(self.splits.values())


def counts_of(manifest: Manifest) -> Counts:
    """The counts of a select that was made."""
    return Counts(manifest.details["quarantine"], _splits(manifest.details["classes"]))


def whatif(recipe: Recipe, made: Made, store: Store) -> Counts:
    """The counts of the select that `recipe` asks for."""
    families, here = select.families_of(made), Here()
    recrawled, forgotten = made["collect"].details.get("recrawled", ()), tombstones.load(store).signatures
    found = decide(families, recipe, store, here, recrawled, forgotten=forgotten)
    told: dict[int, pa.Table] = {}
    for state, group in zip(found.states, found.groups, strict=True):
        told |= outcomes(state, group, found.split_told)
    fn = select.verdicts_of(recipe, found)

    def one(number: int) -> tuple[pa.Table, dict[str, int]]:
        raw, facts, labels = families[number]
        tables = [shards.read(store, raw, select.RAW_COLUMNS),
                  shards.read(store, facts, select.fact_columns(found.judge)), shards.read(store, labels)]  # fmt: skip
        table, counts = fn(*tables, told.get(number))
        return table.select(["split", "label"]), counts

    counted = Counter[str]()
    tables = []
    with ThreadPoolExecutor(_THREADS) as pool:
        for table, counts in pool.map(one, range(len(families))):
            counted.update(counts)
            tables.append(table)
    return Counts(select.quarantined(counted), _splits(select.classes_of(tables)))


def _splits(classes: dict[str, dict[str, Any]]) -> dict[str, int]:
    return {split: sum(counts.get(split, 0) for counts in classes.values()) for split in SPLITS}
