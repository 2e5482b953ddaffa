"""What faults did to builds: how many there were of each kind, and what became of the rows and releases."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dsray import build
from dsray import recipe as recipes
from dsray.lake import manifests, refs, shards
from dsray.lake.manifests import Manifest
from dsray.lake.store import Store
from inline import inline
from runs import Silent, lake

NAMED = ("real", "augmented")
"""Parts of a release whose bytes a second crawl makes again; documents tell of the lake, and manifests of the hour."""


@dataclass
class Toll:
    """Counts, over many disturbed builds."""

    what: str
    builds: int = 0
    runs: int = 0
    injected: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    doubled: int = 0
    wrong: int = 0

    def add(self, store: Store, dataset: str, expected: dict[str, bytes], whole: bool = False) -> None:
        """Judges what a build that was disturbed and run again left. `whole`: documents too, on a lake of one path."""
        kept, held = _kept(store, dataset), Counter(_held(store, dataset))
        self.builds += 1
        self.lost += len(kept - held.keys())
        self.doubled += sum(held.values()) - len(held)
        self.wrong += release(store, dataset, whole) != expected or held.keys() != kept

    def told(self) -> str:
        """One line, which benchmarks/faults.py reads."""
        said: dict[str, Any] = {**self.__dict__, "injected": dict(sorted(self.injected.items()))}
        return f"toll {json.dumps(said)}"

    def settle(self) -> None:
        """Prints, and refuses any loss."""
        print(f"\n{self.told()}")
        assert (self.lost, self.doubled, self.wrong) == (0, 0, 0), self.told()


def release(store: Store, dataset: str, whole: bool = False) -> dict[str, bytes]:
    """Name → bytes of v1; another version is a wrong release."""
    entries = store.list(f"releases/{dataset}/")
    names = [e.name for e in entries if whole or e.name.split("/")[-1].split("-")[0] in NAMED]
    return {name: store.read(name) for name in names}


def alone(text: str, folder: Path) -> dict[str, bytes]:
    """The release that a recipe comes to: of a build without Ray, on a lake of its own."""
    recipe = recipes.parse(text)
    with lake(folder) as store, inline():
        build.run(recipe, store, Silent())
        return release(store, recipe.dataset)


def _kept(store: Store, dataset: str) -> set[str]:
    """The ids of the real rows that the last build kept. Every manifest must balance, every raw row have a verdict."""
    made = standing(store, dataset)
    for name, manifest in made.items():
        manifests.conserved(name, manifest.counts)
    raw = _column(store, made["collect"], "id")
    ids, kept = (_column(store, made["select"], name) for name in ("id", "kept"))
    assert raw == ids and len(set(ids)) == len(ids)
    dropped = made["gather"].counts["quarantined"]
    assert sum(kept) - dropped == made["gather"].counts["kept"]
    failed = dict(zip(*(_column(store, made["gather"], name) for name in ("id", "error")), strict=True))
    return {row for row, stays in zip(ids, kept, strict=True) if stays and failed[row] is None}


def standing(store: Store, dataset: str) -> dict[str, Manifest]:
    """Step → manifest of the last build, as its ref says."""
    value, _ = refs.get(store, f"builds/{dataset}")
    assert value is not None
    found = {name: manifests.find(store, name.split()[0], key) for name, key in value["steps"].items()}
    return {name: manifest for name, manifest in found.items() if manifest}


def _held(store: Store, dataset: str) -> list[str]:
    """The ids of the real rows in all versions."""
    found: list[str] = []
    for name, data in release(store, dataset).items():
        if name.split("/")[-1].startswith("real-"):
            found += pq.read_table(pa.BufferReader(data), columns=["id"])["id"].to_pylist()
    return found


def _column(store: Store, manifest: Manifest, name: str) -> list[Any]:
    tables = [shards.read(store, receipt, [name]) for receipt in manifest.shards]
    return [value for table in tables for value in table[name].to_pylist()]
