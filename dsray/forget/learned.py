"""Models that learned from forgotten rows. They stay as long as something needs them, so that a gate can say why their
rows are refused; but the lists of what they learned from name no forgotten row any more."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import datetime

import pyarrow as pa

from dsray.forget.derived import naming
from dsray.forget.raws import swap
from dsray.lake import leases, manifests, shards
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt
from dsray.lake.store import Entry, Store
from dsray.lake.tombstones import mark
from dsray.stages.retrain import parent
from dsray.upkeep.reach import reach


def tainted(store: Store, rows: frozenset[str], trained: set[str]) -> list[Manifest]:
    """The models that learned from sample shards (`trained`: digests) with forgotten training rows, or whose lists name
    one; and those that began with the networks of such a model."""
    every = list(_all(store, "train"))
    found = {one.key: one for one in every if trained.intersection(one.inputs) or _names(store, one, rows)}
    while more := [one for one in every if one.key not in found and parent(one.params) in found]:
        found |= {one.key: one for one in more}
    return list(found.values())


def unname(store: Store, rows: frozenset[str]) -> Iterator[Entry]:
    """Writes the lists anew, with marks for the ids of forgotten rows: whether to train again is told from them. Yields
    what is to be deleted then: the old lists, and what a killed training left."""
    for entry in list(store.list("models/")):
        if entry.name.endswith(".parquet") and naming(store, entry.name, rows)[0]:
            key = entry.name.split("/")[1]
            folder, model = f"models/{key}", manifests.find(store, "train", key)
            if model is None:
                yield from list(store.list(f"{folder}/"))
                continue
            said = _list(model)
            if said and said.name == entry.name:
                table = shards.read(store, said)
                ids = [mark(one) if mark(one) in rows else one for one in table["id"].to_pylist()]
                marked = table.set_column(0, table.schema.field("id"), pa.array(ids, pa.string()))
                receipt = shards.write_named(store, folder, marked)
                details = {**model.details, "learned": {**model.details["learned"], "rows": asdict(receipt)}}
                name = manifests.name_of("train", model.key)
                swap(store, name, manifests.written(replace(model, details=details)))
            yield entry


def unneeded(store: Store, tainted: set[str], now: datetime) -> Iterator[Entry]:
    """Tainted models (keys), and the rows that they made, as far as nothing on the lake needs them any more."""
    entries = list(store.list(""))
    found = reach(store, entries, now, now, leases.live(store))
    models = [one for one in _all(store, "train") if one.key in tainted]
    weights = {receipt.digest for one in models for receipt in one.shards}
    drawn = [one for one in _all(store, "synthesize") if weights.intersection(one.inputs)]
    names = {manifests.name_of(one.stage, one.key) for one in (*models, *drawn)}
    names |= {receipt.name for one in drawn for receipt in one.shards}
    folders = tuple(f"models/{one.key}/" for one in models)
    for entry in entries:
        if (entry.name in names or (folders and entry.name.startswith(folders))) and not found.holds(entry.name):
            yield entry


def _names(store: Store, model: Manifest, rows: frozenset[str]) -> bool:
    said = _list(model)
    return bool(said and naming(store, said.name, rows)[0])


def _list(model: Manifest) -> Receipt | None:
    said = model.details.get("learned")
    return Receipt(**said["rows"]) if said else None


def _all(store: Store, stage: str) -> Iterator[Manifest]:
    for entry in store.list(f"stages/{stage}/"):
        if found := manifests.find(store, stage, entry.name.split("/")[-1].removesuffix(".json")):
            yield found
