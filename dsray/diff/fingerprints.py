"""The rows of a release as numbers: a 64-bit hash of each column's value, so that two versions can be compared."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dsray.dataset import Version
from dsray.lake import shards
from dsray.lake.shards import Receipt
from dsray.schema import MEDIA, SPLITS

_DERIVED = ("id", "label", "tensor")
"""Columns that are no content of their own: a row's name, what is read by name, what is made of the media."""

_THREADS = 8


@dataclass(frozen=True)
class Prints:
    """N rows. `hash_N` of a column is 0 where it has no value; `origin_N` and `label_N` are places in `origins` and
    `classes`, -1 without a label."""

    ids: pa.Array
    split_N: NDArray[np.int64]
    origin_N: NDArray[np.int64]
    label_N: NDArray[np.int64]
    hash_N: dict[str, NDArray[np.uint64]]

    @property
    def places(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        return self.split_N, self.origin_N, self.label_N

    def of(self, column: str) -> NDArray[np.uint64]:
        """A column's hashes; a release without the column has no value in any row."""
        return self.hash_N.get(column, np.zeros(len(self.ids), np.uint64))


def part(version: Version, receipt: Receipt) -> tuple[str, str]:
    """The split and origin of a shard's rows, as its name says them."""
    split, file = receipt.name.removeprefix(version.prefix).split("/")
    return split, file.split("-")[0]


def fingerprints(
    version: Version, receipts: Sequence[Receipt], origins: Sequence[str], classes: Sequence[str]
) -> Prints:
    """The rows of some shards. Reads every column but tensors, a shard at a time in each thread."""
    if not receipts:
        none = np.zeros(0, np.int64)
        return Prints(pa.array([], pa.string()), none, none, none, {})
    columns = _columns(version, receipts[0])
    place = np.array([classes.index(name) for name in version.manifest["classes"]], np.int64)
    with ThreadPoolExecutor(_THREADS) as pool:
        read = list(pool.map(partial(_of_shard, version, columns, origins, place), receipts))
    split_N, origin_N, label_N = (np.concatenate(parts) for parts in zip(*(one.places for one in read), strict=True))
    hash_N = {name: np.concatenate([one.hash_N[name] for one in read]) for name in read[0].hash_N}
    return Prints(pa.concat_arrays([one.ids for one in read]), split_N, origin_N, label_N, hash_N)


def _columns(version: Version, receipt: Receipt) -> list[str]:
    """What is read of each shard; of media their bytes only, since a path is made of the row's id."""
    schema = shards.schema_of(version.store, receipt)
    return [f"{one.name}.bytes" if one.type == MEDIA else one.name for one in schema if one.name != "tensor"]


def _of_shard(
    version: Version, columns: Sequence[str], origins: Sequence[str], place: NDArray[np.int64], receipt: Receipt
) -> Prints:
    table = shards.read(version.store, receipt, columns)
    split, origin = part(version, receipt)
    if "mixed" in table.column_names:
        mixed = _named(table["mixed"].combine_chunks(), version.manifest["classes"])
        table = table.set_column(table.schema.get_field_index("mixed"), "mixed", mixed)
    label_N = table["label"].fill_null(-1).to_numpy()
    return Prints(
        table["id"].combine_chunks(),
        np.full(table.num_rows, SPLITS.index(split)),
        np.full(table.num_rows, origins.index(origin)),
        np.where(label_N >= 0, place[label_N] if len(place) else -1, -1),
        {name: hashes(table[name]) for name in table.column_names if name not in _DERIVED},
    )


def _named(mixed: pa.StructArray, classes: Sequence[str]) -> pa.StructArray:
    """Second parents with the names of their classes: numbers are other ones when a class joins."""
    columns = [mixed.field(place) for place in range(mixed.type.num_fields)]
    names = [mixed.type.field(place).name for place in range(mixed.type.num_fields)]
    place = names.index("label")
    columns[place] = pa.array(classes, pa.string()).take(columns[place])
    return pa.StructArray.from_arrays(columns, names, mask=mixed.is_null())


def hashes(column: pa.ChunkedArray) -> NDArray[np.uint64]:
    """A 64-bit hash of each value, 0 where there is none. Equal values have equal hashes, also in other tables."""
    there = column.is_valid().to_numpy()
    if not there.any():
        return np.zeros(len(column), np.uint64)
    if pa.types.is_struct(column.type) and column.type.num_fields == 1:
        column = pc.struct_field(column, 0)
    if pa.types.is_nested(column.type):
        values = np.array([json.dumps(value, sort_keys=True) for value in column.to_pylist()], object)
    elif pa.types.is_primitive(column.type):
        values = column.cast(pa.string()).to_numpy()
    else:
        values = column.to_numpy()
    found: NDArray[np.uint64] = pd.util.hash_array(values, categorize=False)
    return np.where(there, found, np.uint64(0))
