"""The shards of a release, one a bucket: the rows of a split whose ids hash to it, sorted by id.

Where few sample shards are others than in the last build, most rows are read from its release: a bucket with the same
rows is copied, another one is made of what it was, without the rows that went and with those that came.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dsray import rng, schema
from dsray.errors import DamagedError
from dsray.lake import shards
from dsray.lake.shards import Receipt
from dsray.lake.store import Missing, Store
from dsray.stages.samples import good

Form = Callable[[pa.Table], pa.Table]
"""Sample rows as readers get them, sorted by id; each row by itself, so that rows of two tables can be joined after."""

_BUCKET, _WENT = "bucket", "went"


@dataclass(frozen=True)
class Before:
    """The last build's sample shards of one origin, and the release that was made of them in the same form."""

    samples: Sequence[Receipt]
    prefix: str
    released: Sequence[Receipt]


def counts(samples: Sequence[Receipt], shard_mb: float, shape: Sequence[int] | None = None) -> dict[str, int]:
    """Split → number of shards, from the bytes of media and tensors: sharding and compression before don't matter."""
    sizes = {split: sum(r.counts.get(f"bytes:{split}", 0) for r in samples) for split in schema.SPLITS}
    rows = {split: sum(r.counts.get(f"rows:{split}", 0) for r in samples) for split in schema.SPLITS}
    tensor = 4 * math.prod(shape) if shape else 0
    sizes = {split: size + tensor * rows[split] for split, size in sizes.items()}
    needed = {split: math.ceil(size / (shard_mb * 2**20)) for split, size in sizes.items() if rows[split]}
    return {split: stepped(max(1, count)) for split, count in needed.items()}


def stepped(needed: int) -> int:
    """The least of 1, 2, 3, 4, 6, 8, 12, 16, ... that is enough. With another number of buckets every row is in another
    one: as hash tables do, a split grows by a third at least before it is written anew."""
    power = 1 << (needed - 1).bit_length()
    return power * 3 // 4 if needed <= power * 3 // 4 else power


def write(
    store: Store,
    prefix: str,
    name: str,
    samples: Sequence[Receipt],
    buckets: Mapping[str, int],
    form: Form,
    before: Before | None = None,
) -> list[Receipt]:
    """The shards `<prefix><split>/<name>-<number>-of-<count>.parquet` of all good rows; none of an empty bucket.
    `before` must have had as many `buckets`."""
    if not buckets:  # no row of that origin
        return []
    if before:
        came = [(receipt, False) for receipt in _others(samples, before.samples)]
        went = [(receipt, True) for receipt in _others(before.samples, samples)]
        if len(came) + len(went) <= len(samples):
            was = {receipt.name.removeprefix(before.prefix): receipt for receipt in before.released}
            try:
                return _written(store, prefix, name, [*came, *went], buckets, form, was)
            except (Missing, DamagedError):  # of what is only nearer; if it is of the samples, they tell
                pass
    return _written(store, prefix, name, [(receipt, False) for receipt in samples], buckets, form, {})


def _others(some: Sequence[Receipt], known: Sequence[Receipt]) -> list[Receipt]:
    """Those of `some` that `known` lacks, or has less often."""
    left = Counter(receipt.digest for receipt in known)
    others = []
    for receipt in some:
        if left[receipt.digest]:
            left[receipt.digest] -= 1
        else:
            others.append(receipt)
    return others


def _written(
    store: Store,
    prefix: str,
    name: str,
    sources: Sequence[tuple[Receipt, bool]],
    buckets: Mapping[str, int],
    form: Form,
    was: Mapping[str, Receipt],
) -> list[Receipt]:
    from dsray.engine.exchange import Cluster, plain

    files = [f"{split}/{name}-{at:05d}-of-{of:05d}.parquet" for split, of in buckets.items() for at in range(of)]
    cluster, told = Cluster(), [pa.table({"file": [file]}) for file in files]
    make = partial(_shard, store=store, prefix=prefix, form=form, was=was)
    if sources:
        load = partial(_load, store=store, buckets=buckets)
        handles = cluster.round(sources, load, _BUCKET, make, len(files), of=plain, beside=told)
    else:
        handles = cluster.each([(file,) for file in told], make)
    written = cluster.fetch(handles)
    return [Receipt(**json.loads(text)) for table in written for text in table["receipt"].to_pylist()]


def _load(receipt: Receipt, went: bool, *, store: Store, buckets: Mapping[str, int]) -> pa.Table:
    table = good(shards.read(store, receipt))
    split_N = pc.index_in(table["split"], pa.array(buckets)).to_numpy()
    count_B = np.array(list(buckets.values()), np.uint64)
    first_B = np.cumsum(count_B) - count_B
    bucket_N = first_B[split_N] + rng.keys_of(table["id"].to_pylist()) % count_B[split_N]
    table = table.append_column(_BUCKET, pa.array(bucket_N))
    return table.append_column(_WENT, pa.array(np.full(table.num_rows, went)))


def _shard(
    file: pa.Table, rows: pa.Table | None = None, *, store: Store, prefix: str, form: Form, was: Mapping[str, Receipt]
) -> pa.Table:
    """The rows of one bucket as a shard, from those that came and went and what it `was`, or from all that it has."""
    name = file["file"][0].as_py()
    old = was.get(name)
    if rows is None:
        return _told(shards.copy(store, old, prefix + name) if old else None)
    came, went = (rows.filter(pc.equal(rows[_WENT], flag)).drop_columns([_WENT]) for flag in (False, True))
    if old and came.sort_by("id").equals(went.sort_by("id")):
        return _told(shards.copy(store, old, prefix + name))
    table = form(came)
    if old:
        held = shards.read(store, old).cast(table.schema)  # Parquet names what is in lists of fixed sizes otherwise
        kept = held.filter(pc.invert(pc.is_in(held["id"], went["id"].combine_chunks())))
        table = pa.concat_tables([kept, table]).sort_by("id")
        if len(kept) + len(went) != len(held) or pc.count_distinct(table["id"]).as_py() != len(table):
            raise DamagedError(f"{store.url}/{old.name} does not hold the rows of the last build.")
    return _told(shards.write(store, prefix + name, table, {"rows": table.num_rows}) if table.num_rows else None)


def _told(receipt: Receipt | None) -> pa.Table:
    return pa.table({"receipt": pa.array([json.dumps(receipt.__dict__)] if receipt else [], pa.string())})
