"""Repartition by key hash, then one vectorised call a partition: map tasks cut, reduce tasks join.

Plain tasks, not Ray Data's hash shuffle, whose aggregator actors take 3 to 5 s to start each time (DECISIONS.md).
The pieces are sources × partitions objects: good to about a million, a thousand shards by a thousand partitions.
"""

import zlib
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dsray.engine.shards import cause
from dsray.engine.tasks import RETRIES

Hashes = NDArray[np.uint64]

_WINDOW = 64
"""Sources under way at once, so that a long list does not fill the object store before it is reduced."""


def exchange(
    sources: Sequence[Any],
    load: Callable[[Any], pa.Table],
    by: str,
    fn: Callable[[pa.Table], pa.Table],
    partitions: int,
) -> pa.Table:
    """All rows with one value of column `by` meet in one call of `fn`; returns what the calls return, joined.

    `load` makes a table of a source, in a worker; all tables have one schema. The order of the result means nothing.
    The result passes through the driver: it must be small. Without sources: a table without columns.
    """
    import ray
    from ray.exceptions import RayError

    @ray.remote(num_cpus=1, num_returns=partitions, max_retries=RETRIES)
    def cut(source: Any) -> Any:
        pieces = split(load(source), by, partitions)
        return pieces if partitions > 1 else pieces[0]

    @ray.remote(num_cpus=1, max_retries=RETRIES)
    def join(*pieces: pa.Table) -> pa.Table:
        return fn(pa.concat_tables(pieces))

    if not sources:
        return pa.table({})
    try:
        cuts: list[list[Any]] = []
        for source in sources:
            if len(cuts) >= _WINDOW:
                ray.wait([cuts[-_WINDOW][0]], timeout=None)
            pieces: Any = cut.remote(source)
            cuts.append(pieces if partitions > 1 else [pieces])
        return pa.concat_tables(ray.get([join.remote(*pieces) for pieces in zip(*cuts, strict=True)]))
    except RayError as error:
        raise cause(error) from error


def split(table: pa.Table, by: str, partitions: int) -> list[pa.Table]:
    """The table's rows by the hash of column `by`, an integer or string; each row goes to one piece, in its order."""
    part_N = hashes(table[by]) % np.uint64(partitions)
    order_N = np.argsort(part_N, kind="stable")
    edges = np.searchsorted(part_N[order_N], np.arange(partitions + 1))
    ordered = table.take(pa.array(order_N)).combine_chunks()
    return [ordered.slice(low, high - low) for low, high in pairwise(edges.tolist())]


def hashes(column: pa.ChunkedArray) -> Hashes:
    """A 64-bit hash of each value, the same in every process."""
    if pa.types.is_integer(column.type):
        with np.errstate(over="ignore"):
            mixed: Hashes = column.to_numpy().astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        return mixed >> np.uint64(32)
    words = column.combine_chunks().dictionary_encode()
    crc = np.array([zlib.crc32(word.encode()) for word in words.dictionary.to_pylist()], np.uint64)
    found: Hashes = crc[words.indices.to_numpy()] if len(crc) else np.zeros(0, np.uint64)
    return found
