"""The table of samples, real, augmented or synthetic: one schema, so that a release reads as one table."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dsray import schema
from dsray.kinds import Object

RARE = ("objects", "weight", "mixed")
"""Columns that a release has only when a row of it has one."""


def sample_table(rows: int, texts: Sequence[str] = (), **columns: Any) -> pa.Table:
    """schema.SAMPLES, then the text columns, then `error`: why a row has no media. What is not given is null."""
    fields = [*schema.SAMPLES, *(pa.field(name, pa.string()) for name in texts), pa.field("error", pa.string())]
    arrays = [columns.get(field.name, pa.nulls(rows, field.type)) for field in fields]
    return pa.table(arrays, schema=pa.schema(fields))


def media(made: Sequence[bytes | None], paths: Sequence[str]) -> pa.StructArray:
    """The column of schema.MEDIA; null where nothing was made."""
    absent = pa.array([data is None for data in made], pa.bool_())
    columns = [packed(made), pa.array(paths, pa.string())]
    return pa.StructArray.from_arrays(columns, fields=list(schema.MEDIA), mask=absent)


def packed(values: Sequence[bytes | None]) -> pa.BinaryArray:
    """A column of bytes in memory of its size: Arrow's own builder doubles what it has when that is full."""
    ends = np.cumsum([0, *(len(value or b"") for value in values)])
    if ends[-1] > np.iinfo(np.int32).max:
        return pa.array(values, pa.binary())
    there = pa.array([value is not None for value in values], pa.bool_()).buffers()[1] if None in values else None
    data = pa.py_buffer(b"".join(value or b"" for value in values))
    return pa.Array.from_buffers(pa.binary(), len(values), [there, pa.py_buffer(ends.astype(np.int32)), data])


def counts(samples: pa.Table, size: pa.ChunkedArray | None = None) -> dict[str, int]:
    """The counts of a receipt: rows in, kept and quarantined, the media's bytes and rows by split, before compression,
    and the rows that have what most have not. `size`: bytes of each row's media, if they lie elsewhere."""
    if size is None:
        size = pc.binary_length(pc.struct_field(samples["media"], "bytes"))
    by_split = pa.table([samples["split"], size], ["split", "size"]).filter(pc.is_null(samples["error"]))
    sums = by_split.group_by("split").aggregate([("size", "sum"), ("size", "count")]).to_pylist()
    sizes = {f"bytes:{row['split']}": row["size_sum"] for row in sums}
    sizes |= {f"rows:{row['split']}": row["size_count"] for row in sums}
    rows, kept = samples.num_rows, by_split.num_rows
    has = {f"has:{name}": rows - samples[name].null_count for name in RARE if samples[name].null_count < rows}
    return {"in": rows, "kept": kept, "quarantined": rows - kept, **dict(sorted(sizes.items())), **has}


def marked(rows: pa.Table) -> list[list[Object] | None]:
    """The objects of each row."""
    if rows["objects"].null_count == rows.num_rows:
        return [None] * rows.num_rows
    found: list[list[Object] | None] = rows["objects"].to_pylist()
    return found


def good(samples: pa.Table) -> pa.Table:
    """The rows that have media."""
    return only(samples, pc.is_null(samples["error"]))


def only(table: pa.Table, wanted: pa.ChunkedArray) -> pa.Table:
    """The wanted rows; the table itself where that is all of them, since a filter copies."""
    return table if pc.all(wanted, skip_nulls=False).as_py() else table.filter(wanted)
