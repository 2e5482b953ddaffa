"""Repartition by key hash, then one vectorised call a partition: map tasks cut, reduce tasks join.

Plain tasks, not Ray Data's hash shuffle, whose aggregator actors take 3 to 5 s to start each time (DECISIONS.md).
The pieces are sources × partitions objects: good to about a million, a thousand shards by a thousand partitions.
What a round makes stays where it was made, as handles, and is the input of the next; `fetch` brings it to the driver.
"""

import os
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dsray.engine.connect import cpus
from dsray.engine.shards import cause
from dsray.engine.tasks import RETRIES

Hashes = NDArray[np.uint64]
Handle = Any
"""A table that may lie elsewhere."""

Input = tuple[Any, ...]
"""Arguments of one map task; handles among them arrive as tables."""

_WINDOW = 64
"""Sources under way at once, so that a long list does not fill the object store before it is reduced."""


class Exchange(Protocol):
    """Where rounds run."""

    @property
    def width(self) -> int:
        """Calls that run at once."""

    def each(self, inputs: Sequence[Input], fn: Callable[..., pa.Table]) -> list[Handle]:
        """`fn(*input)` for each input, one table each."""

    def round(
        self,
        inputs: Sequence[Input],
        load: Callable[..., pa.Table],
        by: str,
        fn: Callable[..., pa.Table],
        partitions: int,
        *,
        of: "Callable[[pa.ChunkedArray], Hashes] | None" = None,
        beside: Sequence[Handle] = (),
    ) -> list[Handle]:
        """All rows of `load(*input)` with one value of column `by` meet in one call of `fn`, which gets them as one
        table, after `beside[partition]` where that is given. `of` numbers the values; the number modulo `partitions` is
        the partition. All loaded tables have one schema; the order of rows means nothing."""

    def fetch(self, handles: Sequence[Handle]) -> list[pa.Table]:
        """The tables, here."""


class Cluster:
    """Rounds as Ray tasks. Raises our own errors as they are, others as ClusterError, when fetched."""

    @property
    def width(self) -> int:
        return cpus()

    def each(self, inputs: Sequence[Input], fn: Callable[..., pa.Table]) -> list[Handle]:
        import ray

        @ray.remote(num_cpus=1, max_retries=RETRIES)
        def one(*arguments: Any) -> pa.Table:
            return fn(*arguments)

        return [one.remote(*arguments) for arguments in inputs]

    def round(
        self,
        inputs: Sequence[Input],
        load: Callable[..., pa.Table],
        by: str,
        fn: Callable[..., pa.Table],
        partitions: int,
        *,
        of: Callable[[pa.ChunkedArray], Hashes] | None = None,
        beside: Sequence[Handle] = (),
    ) -> list[Handle]:
        import ray

        numbered = of or hashes

        @ray.remote(num_cpus=1, num_returns=partitions, max_retries=RETRIES)
        def cut(*arguments: Any) -> Any:
            pieces = split(load(*arguments), by, partitions, numbered)
            return pieces if partitions > 1 else pieces[0]

        @ray.remote(num_cpus=1, max_retries=RETRIES)
        def join(first: int, *tables: Any) -> pa.Table:
            return fn(*tables[:first], pa.concat_tables(tables[first:]))

        cuts: list[list[Any]] = []
        for arguments in inputs:
            if len(cuts) >= _WINDOW:
                ray.wait([cuts[-_WINDOW][0]], timeout=None)
            pieces: Any = cut.remote(*arguments)
            cuts.append(pieces if partitions > 1 else [pieces])
        near = [[handle] for handle in beside] or [[]] * partitions
        return [join.remote(len(n), *n, *pieces) for n, pieces in zip(near, zip(*cuts, strict=True), strict=True)]

    def fetch(self, handles: Sequence[Handle]) -> list[pa.Table]:
        import ray
        from ray.exceptions import RayError

        try:
            return list(ray.get(list(handles)))
        except RayError as error:
            raise cause(error) from error


class Here:
    """The same rounds in this process, on its threads: for what fits into it, at once and without Ray."""

    @property
    def width(self) -> int:
        return os.cpu_count() or 1

    def each(self, inputs: Sequence[Input], fn: Callable[..., pa.Table]) -> list[Handle]:
        with ThreadPoolExecutor(self.width) as pool:
            return list(pool.map(lambda arguments: fn(*arguments), inputs))

    def round(
        self,
        inputs: Sequence[Input],
        load: Callable[..., pa.Table],
        by: str,
        fn: Callable[..., pa.Table],
        partitions: int,
        *,
        of: Callable[[pa.ChunkedArray], Hashes] | None = None,
        beside: Sequence[Handle] = (),
    ) -> list[Handle]:
        loaded = self.each([(arguments,) for arguments in inputs], lambda one: load(*one))
        cuts = [split(table, by, partitions, of or hashes) for table in loaded]
        near = [[handle] for handle in beside] or [[]] * partitions
        met = [(*n, pa.concat_tables(pieces)) for n, pieces in zip(near, zip(*cuts, strict=True), strict=True)]
        return self.each(met, fn)

    def fetch(self, handles: Sequence[Handle]) -> list[pa.Table]:
        return list(handles)


def split(
    table: pa.Table, by: str, partitions: int, of: Callable[[pa.ChunkedArray], Hashes] | None = None
) -> list[pa.Table]:
    """The table's rows by the hash of column `by`, an integer or string; each row goes to one piece, in its order."""
    if partitions == 1:
        return [table]
    part_N = (of or hashes)(table[by]) % np.uint64(partitions)
    order_N = np.argsort(part_N, kind="stable")
    edges = np.searchsorted(part_N[order_N], np.arange(partitions + 1))
    ordered = table.take(pa.array(order_N)).combine_chunks()
    return [ordered.slice(low, high - low) for low, high in pairwise(edges.tolist())]


def plain(column: pa.ChunkedArray) -> Hashes:
    """Integers that number their partitions themselves."""
    return np.asarray(column.to_numpy(), np.uint64)


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
