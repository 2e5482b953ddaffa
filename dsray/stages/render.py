"""raw + verdicts → samples: the kept rows only, each in the recipe's one canonical form."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dsray import plugin, schema
from dsray.errors import DsrayError
from dsray.kinds import Kind, Marked, Object, code, kind
from dsray.lake.manifests import Manifest
from dsray.lake.shards import name_of
from dsray.recipe import Recipe
from dsray.stages.step import Made, Step, Work, digests, total

VERSION = 2

RARE = ("objects", "weight", "mixed")
"""Columns that a release has only when a row of it has one."""


def step(recipe: Recipe, made: Made) -> Step:
    params = {
        "kind": recipe.kind, "code": plugin.versions(code(recipe.kind)),
        "spec": recipe.render.model_dump(mode="json"), "texts": recipe.texts(),
    }  # fmt: skip
    return Step("render", "render", VERSION, params, [*digests(made["collect"]), *digests(made["select"])])


def run(step: Step, made: Made, work: Work) -> Manifest:
    from dsray.engine import shards

    raw, verdicts = made["collect"], made["select"]
    columns = ["id", "source", "url", "page", "licence?", "payload", *(f"{name}?" for name in step.params["texts"])]
    works = [
        shards.Work(name_of("render", step.shard_key(r, v)), [(r, columns), (v, None)])
        for r, v in zip(raw.shards, verdicts.shards, strict=True)
    ]
    fn = partial(samples, kind_name=work.recipe.kind, spec=step.params["spec"], texts=step.params["texts"])
    receipts = shards.map_shards(work.store, works, fn, work.progress.rows(verdicts.counts["kept"]))
    counts = {name: total(receipts, name) for name in ("in", "kept", "quarantined")}
    if counts["in"] != verdicts.counts["kept"]:
        counts["in"] = verdicts.counts["kept"]  # the manifest's check refuses what does not balance
    return step.manifest(receipts, counts)


def samples(
    raw: pa.Table,
    verdicts: pa.Table,
    *,
    kind_name: str,
    spec: dict[str, Any],
    texts: Sequence[str] = (),
    careful: bool = False,
) -> tuple[pa.Table, dict[str, int]]:
    """The kept rows with their media; a row that cannot be rendered stays as a row with `error` and is quarantined."""
    kept = verdicts["kept"]
    raw, verdicts = only(raw, kept), only(verdicts, kept)
    ids = raw["id"].to_pylist()
    of_kind = kind(kind_name)
    payloads = (value.as_py() for value in raw["payload"])
    made, objects, errors = each(partial(_render, of_kind, spec), payloads, marked(verdicts))
    table = sample_table(
        raw.num_rows,
        texts,
        id=raw["id"],
        media=media(made, [f"{row}.{of_kind.extension(spec)}" for row in ids]),
        label=verdicts["label"],
        objects=pa.array(objects, schema.SAMPLES.field("objects").type),
        weight=verdicts["weight"],
        split=verdicts["split"],
        origin=pa.array(["real"] * raw.num_rows),
        source=raw["source"],
        url=raw["url"],
        page=raw["page"],
        licence=raw["licence"] if "licence" in raw.column_names else pa.nulls(raw.num_rows, pa.string()),
        error=pa.array(errors, pa.string()),
        **{name: raw[name] if name in raw.column_names else pa.nulls(raw.num_rows, pa.string()) for name in texts},
    )
    return table, counts(table)


def _render(of_kind: Kind, spec: dict[str, Any], payload: bytes, objects: list[Object] | None) -> Marked:
    return of_kind.render(payload, spec, objects or [])


def marked(rows: pa.Table) -> list[list[Object] | None]:
    """The objects of each row."""
    if rows["objects"].null_count == rows.num_rows:
        return [None] * rows.num_rows
    found: list[list[Object] | None] = rows["objects"].to_pylist()
    return found


def each(
    make: Callable[..., Marked], *arguments: Iterable[Any]
) -> tuple[list[bytes | None], list[list[Object] | None], list[str | None]]:
    """`make` of each row: (media, objects, errors). Any bytes at all end as a row, which stops no other; only what a
    user must mend is raised."""
    made: list[bytes | None] = []
    objects: list[list[Object] | None] = []
    errors: list[str | None] = []
    for row in zip(*arguments, strict=True):
        try:
            data, marks = make(*row)
            made.append(data)
            objects.append(marks or None)
            errors.append(None)
        except DsrayError:
            raise
        except Exception as error:
            made.append(None)
            objects.append(None)
            errors.append(f"{type(error).__name__}: {error}"[:200])
    return made, objects, errors


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


def sample_table(rows: int, texts: Sequence[str] = (), **columns: Any) -> pa.Table:
    """schema.SAMPLES, then the text columns, then `error`: why a row has no media. What is not given is null."""
    fields = [*schema.SAMPLES, *(pa.field(name, pa.string()) for name in texts), pa.field("error", pa.string())]
    arrays = [columns.get(field.name, pa.nulls(rows, field.type)) for field in fields]
    return pa.table(arrays, schema=pa.schema(fields))


def counts(samples: pa.Table) -> dict[str, int]:
    """The counts of a receipt: rows in, kept and quarantined, the media's bytes and rows by split, before compression,
    and the rows that have what most have not."""
    size = pc.binary_length(pc.struct_field(samples["media"], "bytes"))
    by_split = pa.table([samples["split"], size], ["split", "size"]).filter(pc.is_null(samples["error"]))
    sums = by_split.group_by("split").aggregate([("size", "sum"), ("size", "count")]).to_pylist()
    sizes = {f"bytes:{row['split']}": row["size_sum"] for row in sums}
    sizes |= {f"rows:{row['split']}": row["size_count"] for row in sums}
    rows, kept = samples.num_rows, by_split.num_rows
    has = {f"has:{name}": rows - samples[name].null_count for name in RARE if samples[name].null_count < rows}
    return {"in": rows, "kept": kept, "quarantined": rows - kept, **dict(sorted(sizes.items())), **has}


def good(samples: pa.Table) -> pa.Table:
    """The rows that have media."""
    return only(samples, pc.is_null(samples["error"]))


def only(table: pa.Table, wanted: pa.ChunkedArray) -> pa.Table:
    """The wanted rows; the table itself where that is all of them, since a filter copies."""
    return table if pc.all(wanted, skip_nulls=False).as_py() else table.filter(wanted)
