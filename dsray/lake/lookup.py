"""Finding rows by what a column says, and reading one row: of each shard only as much as that takes."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dsray.errors import LakeError
from dsray.lake import shards
from dsray.lake.shards import Receipt
from dsray.lake.store import Missing, Store

_THREADS = 32
_LAST = "\U0010ffff"


class Place(NamedTuple):
    """A row of a shard, and what it says in the column that was asked for."""

    shard: Receipt
    row: int
    value: str


def find(store: Store, receipts: Iterable[Receipt], column: str, value: str, prefix: bool = False) -> list[Place]:
    """Every row whose column holds that text, or with `prefix` begins so, in the order of the shards. Only the column
    is read, and row groups whose statistics rule it out are not; shards that are gone have no rows."""

    def of_shard(receipt: Receipt) -> list[Place]:
        with suppress(Missing):
            return _matches(store, receipt, column, value, prefix)
        return []

    once = {receipt.name: receipt for receipt in receipts}
    with ThreadPoolExecutor(_THREADS) as pool:
        return [place for places in pool.map(of_shard, once.values()) for place in places]


def one(
    store: Store, receipt: Receipt, row: int, columns: Sequence[str] | None = None, without: Sequence[str] = ()
) -> dict[str, Any]:
    """One row, as `row_of` reads it."""
    found: dict[str, Any] = row_of(store, receipt, row, columns, without).to_pylist()[0]
    return found


def row_of(
    store: Store, receipt: Receipt, row: int, columns: Sequence[str] | None = None, without: Sequence[str] = ()
) -> pa.Table:
    """A table of one row; of its row group only these columns are read, or all but `without`. Raises Missing or
    DamagedError."""
    with store.open(receipt.name) as file:
        try:
            shard = pq.ParquetFile(file, page_checksum_verification=True)
            names = shard.schema_arrow.names if columns is None else columns
            group = 0
            while row >= (rows := shard.metadata.row_group(group).num_rows):
                row, group = row - rows, group + 1
            return shard.read_row_group(group, [name for name in names if name not in without]).slice(row, 1)
        except (pa.ArrowException, OSError) as error:
            raise _unread(store, receipt) from error


def _matches(store: Store, receipt: Receipt, column: str, value: str, prefix: bool) -> list[Place]:
    found: list[Place] = []
    first = 0
    with store.open(receipt.name) as file:
        try:
            shard = pq.ParquetFile(file, page_checksum_verification=True)
            paths = [shard.schema.column(place).path for place in range(len(shard.schema))]
            for group in range(shard.num_row_groups):
                said = shard.metadata.row_group(group)
                if _may_hold(said.column(paths.index(column)).statistics, value, prefix):
                    values = shard.read_row_group(group, [column])[column]
                    hits = pc.starts_with(values, value) if prefix else pc.equal(values, value)
                    rows = np.flatnonzero(pc.fill_null(hits, False).to_numpy()).tolist()
                    found += [Place(receipt, first + row, values[row].as_py()) for row in rows]
                first += said.num_rows
        except (pa.ArrowException, OSError) as error:
            raise _unread(store, receipt) from error
    return found


def _may_hold(told: Any, value: str, prefix: bool) -> bool:
    """By the least and the greatest value of a row group."""
    if told is None or not told.has_min_max:
        return True
    return bool(told.min <= (value + _LAST if prefix else value) and told.max >= value)


def _unread(store: Store, receipt: Receipt) -> LakeError:
    """A connection that broke; raises DamagedError, with what mends it, where the whole read tells of damage."""
    shards.whole(store, receipt)
    return LakeError(f"{store.url}/{receipt.name} could not be read.", "Run the same command again.")
