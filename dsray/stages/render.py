"""raw + verdicts → samples: the kept rows only, each in the recipe's one canonical form."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dsray import schema
from dsray.kinds import kind
from dsray.lake.manifests import Manifest
from dsray.lake.shards import name_of
from dsray.recipe import Recipe
from dsray.stages.step import Made, Step, Work, digests, total

VERSION = 1


def step(recipe: Recipe, made: Made) -> Step:
    params = {"kind": recipe.kind, "spec": recipe.render.model_dump(mode="json"), "texts": recipe.texts()}
    return Step("render", "render", VERSION, params, [*digests(made["collect"]), *digests(made["select"])])


def run(step: Step, made: Made, work: Work) -> Manifest:
    from dsray.engine import shards

    raw, verdicts = made["collect"], made["select"]
    columns = ["id", "source", "url", "page", "payload", *step.params["texts"]]
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
    raw, verdicts = raw.filter(kept), verdicts.filter(kept)
    media: list[dict[str, Any] | None] = []
    errors: list[str | None] = []
    for row, payload in zip(raw["id"].to_pylist(), raw["payload"].to_pylist(), strict=True):
        try:
            media.append({"bytes": kind(kind_name).render(payload, spec), "path": f"{row}.{spec['format']}"})
            errors.append(None)
        except Exception as error:  # any bytes at all must end as a row
            media.append(None)
            errors.append(f"{type(error).__name__}: {error}"[:200])
    table = sample_table(
        raw.num_rows,
        texts,
        id=raw["id"],
        media=pa.array(media, schema.MEDIA),
        label=verdicts["label"],
        split=verdicts["split"],
        origin=pa.array(["real"] * raw.num_rows),
        source=raw["source"],
        url=raw["url"],
        page=raw["page"],
        error=pa.array(errors, pa.string()),
        **{name: raw[name] if name in raw.column_names else pa.nulls(raw.num_rows, pa.string()) for name in texts},
    )
    return table, counts(table)


def sample_table(rows: int, texts: Sequence[str] = (), **columns: Any) -> pa.Table:
    """schema.SAMPLES, then the text columns, then `error`: why a row has no media. What is not given is null."""
    fields = [*schema.SAMPLES, *(pa.field(name, pa.string()) for name in texts), pa.field("error", pa.string())]
    arrays = [columns.get(field.name, pa.nulls(rows, field.type)) for field in fields]
    return pa.table(arrays, schema=pa.schema(fields))


def counts(samples: pa.Table) -> dict[str, int]:
    """The counts of a receipt: rows in, kept and quarantined, and the media's bytes by split, before compression."""
    kept = good(samples)
    sizes = Counter[str]()
    for split, media in zip(kept["split"].to_pylist(), kept["media"].to_pylist(), strict=True):
        sizes[f"bytes:{split}"] += len(media["bytes"])
        sizes[f"rows:{split}"] += 1
    rows = samples.num_rows
    return {"in": rows, "kept": kept.num_rows, "quarantined": rows - kept.num_rows, **sizes}


def good(samples: pa.Table) -> pa.Table:
    """The rows that have media."""
    return samples.filter(pc.is_null(samples["error"]))
