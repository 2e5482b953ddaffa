"""Raw shards without some of their rows, and the manifests that named the old ones: they say what the sources gave,
so they are changed where they stand, and a build goes on from them without asking a source again."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dsray import keys
from dsray.lake import manifests, shards
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt
from dsray.lake.store import Store
from dsray.stages.step import balance

Moved = Mapping[str, Receipt | None]
"""Raw shard → the one that has its other rows, if there are any."""


def rewrite(store: Store, gone: Mapping[str, pa.Table]) -> dict[str, Receipt | None]:
    """Writes each shard's other rows as a shard of their own; the old ones stay until they are deleted."""
    moved: dict[str, Receipt | None] = {}
    for name, rows in sorted(gone.items()):
        old = shards.adopt(store, name)
        assert old
        table = shards.read(store, old)
        rest = table.filter(pc.invert(pc.is_in(table["id"], rows["id"].combine_chunks())))
        counts = {"failed": len(rest) - rest["error"].null_count} if "failed" in old.counts else {}
        folder = "/".join(name.split("/")[:2])
        moved[name] = shards.write_named(store, folder, rest, counts) if rest.num_rows else None
    return moved


def concerned(store: Store, moved: Mapping[str, object]) -> list[Manifest]:
    """The manifests of collect that name one of these shards."""
    return [one for one in collected(store) if any(shard.name in moved for shard in one.shards)]


def collected(store: Store) -> Iterator[Manifest]:
    """All manifests of collect."""
    for entry in store.list("stages/collect/"):
        if found := manifests.find(store, "collect", entry.name.split("/")[-1].removesuffix(".json")):
            yield found


def edit(store: Store, moved: Moved) -> None:
    """Lets the manifests of collect name the new shards."""
    for manifest in concerned(store, moved):
        receipts = sorted(exchanged(manifest.shards, moved), key=lambda receipt: receipt.digest)
        counts = {**manifest.counts, **balance(sum(receipt.rows for receipt in receipts))}
        swap(store, manifests.name_of("collect", manifest.key), manifests.written(
            replace(manifest, shards=receipts, counts=counts)))  # fmt: skip


def exchanged(receipts: list[Receipt], moved: Moved) -> list[Receipt]:
    """The receipts, with new ones for those that moved."""
    found = {one.name: one for old in receipts if (one := moved.get(old.name, old)) is not None}
    return list(found.values())


def exchanged_json(said: list[dict[str, Any]], moved: Moved) -> list[dict[str, Any]]:
    """The same for receipts as JSON has them."""
    return [asdict(one) for one in exchanged([Receipt(**one) for one in said], moved)]


def swap(store: Store, name: str, data: bytes) -> None:
    """Writes an object anew. What is forgotten is the one reason to change what was created once."""
    old, etag = store.get(name)
    if keys.digest(old) != keys.digest(data):
        store.swap(name, data, etag)
