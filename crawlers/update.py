"""What is known, and what a round learned → what is known then. Tables in and out, by buckets of keys."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from crawlers.known import AGAIN, DONE, HELD, ITEM, KNOWN, NEW

BUCKET_ROWS = 500_000
"""Records in a bucket, about: what is in memory at once, some 250 bytes each."""

_FORGOTTEN = ("etag", "modified", "digest", "row")
"""What goes when an item's texts changed, so that its payload is had again and makes a row."""


def buckets_for(rows: int, before: int = 1) -> int:
    """How many buckets: a power of two, never fewer than before, so that a bucket's rows come from one bucket."""
    count = before
    while rows > count * BUCKET_ROWS:
        count *= 2
    return count


def split(table: pa.Table, buckets: int) -> list[pa.Table]:
    """Records by bucket: the lowest bits of their key."""
    if buckets == 1:
        return [table]
    bucket_N = table["key"].to_numpy() % np.uint64(buckets)
    return [table.filter(pa.array(bucket_N == bucket)) for bucket in range(buckets)]


def update(known: pa.Table, logs: Sequence[pa.Table]) -> pa.Table:
    """One record a key: what a try came to, before what was known, before what was only found, before what is held."""
    both = pa.concat_tables([known, *logs]).combine_chunks()
    if not both.num_rows:
        return both
    logged_N = np.arange(both.num_rows) >= known.num_rows
    rank_N = _rank(both["state"], logged_N)
    key_N = both["key"].to_numpy()
    seq_N = np.arange(len(key_N))
    late_N = np.where(rank_N > 1, seq_N, -seq_N)  # of tries the last counts, of finds the first
    order_N = np.lexsort((late_N, rank_N, key_N))
    last_N = np.append(key_N[order_N][1:] != key_N[order_N][:-1], True)
    merged = both.take(pa.array(order_N[last_N])).combine_chunks()
    return _with_new_texts(merged, both.filter(pa.array(logged_N)))


def _first(key_N: NDArray[np.uint64], flag_N: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Of the flagged ones the first of each key: a list may name a URL twice, with other texts."""
    at_N = np.flatnonzero(flag_N)
    first_N = np.zeros(len(key_N), bool)
    first_N[at_N[np.unique(key_N[at_N], return_index=True)[1]]] = True
    return first_N


def _rank(state: pa.ChunkedArray, logged_N: NDArray[np.bool_]) -> NDArray[np.int8]:
    is_ = {name: pc.equal(state, name).to_numpy(zero_copy_only=False) for name in (HELD, NEW, AGAIN, DONE)}
    tried_N = logged_N & (is_[AGAIN] | is_[DONE])
    return np.select([tried_N, ~logged_N & ~is_[HELD], logged_N & is_[NEW]], [3, 2, 1], 0).astype(np.int8)


def _with_new_texts(merged: pa.Table, logged: pa.Table) -> pa.Table:
    """An item whose page now says something else about it is asked again, and makes a row of its own."""
    found = logged.filter(pc.and_(pc.equal(logged["state"], NEW), pc.equal(logged["kind"], ITEM)))
    if not found.num_rows:
        return merged
    key_N, found_N = merged["key"].to_numpy(), found["key"].to_numpy()  # merged is sorted by key
    at_N = np.searchsorted(key_N, found_N)
    old = merged.take(pa.array(at_N))
    same_N = pc.fill_null(pc.equal(old["page"], found["page"]), False).to_numpy(zero_copy_only=False)
    changed = pc.and_(pc.equal(old["state"], DONE), pc.not_equal(old["fields"], found["fields"]))
    hit_N = pc.fill_null(changed, False).to_numpy(zero_copy_only=False) & _first(found_N, same_N)
    if not hit_N.any():
        return merged
    changed_N = np.zeros(len(key_N), bool)
    changed_N[at_N[hit_N]] = True
    source_N = np.arange(len(key_N))
    source_N[at_N[hit_N]] = len(key_N) + np.flatnonzero(hit_N)
    texts = pa.chunked_array([*merged["fields"].chunks, *found["fields"].chunks]).take(pa.array(source_N))
    mask = pa.array(changed_N)
    columns = {name: merged[name] for name in KNOWN.names} | {"fields": texts}
    columns["state"] = pc.if_else(mask, AGAIN, merged["state"])
    columns["due"] = pc.if_else(mask, 0.0, merged["due"])
    for name in _FORGOTTEN:
        columns[name] = pc.if_else(mask, pa.scalar(None, pa.string()), merged[name])
    return pa.table(columns, schema=KNOWN)
