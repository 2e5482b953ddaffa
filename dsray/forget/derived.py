"""What was made of forgotten rows: shards that name one of them, and the manifests behind these. All derived shards of
the lake are looked through, whoever names them: an attempt that was killed counts too."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from dsray.lake import manifests, shards
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt
from dsray.lake.store import Entry, Store
from dsray.lake.tombstones import mark

_NAMING = ["id?", "parent?", "mixed?", "cluster?", "value?"]
"""The columns that say of which rows a row is made, or which it doubles."""

_APART = ("collect", "train", "synthesize")
"""Stages whose manifests stay: the first is written anew, the others hold nothing of a row but what a model learned."""

_THREADS = 16


@dataclass
class Derived:
    """What is to be deleted."""

    shards: dict[str, Receipt] = field(default_factory=dict)
    manifests: list[Manifest] = field(default_factory=list)
    trained: set[str] = field(default_factory=set)  # digests of sample shards that gave a model such a row
    children: int = 0  # augmented rows


def derived(store: Store, rows: frozenset[str], raws: Iterable[str]) -> Derived:
    """Everything that was made of rows whose marks are given, or that stands on one of the raw shards (digests)."""
    found = Derived()

    def one(entry: Entry) -> tuple[Receipt | None, int, bool]:
        return naming(store, entry.name, rows)

    with ThreadPoolExecutor(_THREADS) as pool:
        for receipt, children, train in pool.map(one, list(store.list("shards/"))):
            if receipt:
                found.shards[receipt.name] = receipt
                found.children += children
                found.trained |= {receipt.digest} if train else set()
    bad = {receipt.digest for receipt in found.shards.values()} | set(raws)
    for manifest in _all(store):
        if bad.intersection(manifest.inputs) or any(one.name in found.shards for one in manifest.shards):
            found.manifests.append(manifest)
    return found


def naming(store: Store, name: str, rows: frozenset[str]) -> tuple[Receipt | None, int, bool]:
    """The shard's receipt if it names one of the rows; how many augmented ones are made of them; whether one trains."""
    receipt = shards.adopt(store, name)
    if receipt is None:
        return None, 0, False
    table = shards.read(store, receipt, [*_NAMING, "split?"])
    flags = [_of(table, column, rows) for column in ("id", "parent", "mixed", "cluster", "value")]
    if not any(pc.any(flag).as_py() for flag in flags):
        return None, 0, False
    children = pc.sum(pc.or_(flags[1], flags[2])).as_py() or 0
    split = table["split"] if "split" in table.column_names else pa.chunked_array([pa.nulls(len(table), pa.string())])
    train = pc.any(pc.and_(flags[0], pc.fill_null(pc.equal(split, "train"), False))).as_py()
    return receipt, int(children), bool(train)


def _of(table: pa.Table, column: str, rows: frozenset[str]) -> pa.ChunkedArray:
    """Whether each value of a column is one of the rows."""
    none = pa.chunked_array([pa.array([False] * table.num_rows, pa.bool_())])
    if column not in table.column_names:
        return none
    values = table[column]
    if pa.types.is_struct(values.type):
        values = pc.struct_field(values, "parent")
    if not pa.types.is_string(values.type):
        return none
    coded = values.combine_chunks().dictionary_encode()
    named = [text for text in coded.dictionary.to_pylist() if mark(text) in rows]
    return pa.chunked_array([pc.is_in(values.combine_chunks(), pa.array(named, pa.string()))]) if named else none


def _all(store: Store) -> Iterator[Manifest]:
    """The manifests of all other stages."""
    for entry in store.list("stages/"):
        _, stage, file = entry.name.split("/")
        found = manifests.find(store, stage, file.removesuffix(".json")) if stage not in _APART else None
        if found:
            yield found
