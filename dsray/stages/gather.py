"""raw + forms + verdicts → samples: the kept rows with all that a release says of them.

Their media stay where render put them: a sample shard borrows that column. So another threshold, label or split writes
some kilobytes, and copies no picture.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dsray import plugin, schema
from dsray.kinds import Kind, Object, code, kind
from dsray.lake.manifests import Manifest
from dsray.lake.shards import borrowed
from dsray.recipe import Recipe
from dsray.stages.samples import counts, marked, only, sample_table
from dsray.stages.step import Made, Step, Work, digests, total

VERSION = 1


def step(recipe: Recipe, made: Made) -> Step:
    params = {"kind": recipe.kind, "code": plugin.versions(code(recipe.kind)), "texts": recipe.texts()}
    inputs = [digest for name in ("collect", "render", "select") for digest in digests(made[name])]
    return Step("gather", "gather", VERSION, params, inputs)


def run(step: Step, made: Made, work: Work) -> Manifest:
    from dsray.engine import shards

    texts, verdicts = step.params["texts"], made["select"]
    of = (made["collect"].shards, made["render"].shards, verdicts.shards)
    families = list(zip(*of, strict=True))
    of_raw = ["id", "source", "url", "page", "licence?", *(f"{name}?" for name in texts)]
    works = [
        shards.Work(
            name,
            [(raw, of_raw), (form, ["error", "size", "frame"]), (verdict, None)],
            {"forms": form.digest},
        )
        for name, (raw, form, verdict) in zip(step.names(*of), families, strict=True)
    ]
    fn = partial(samples, kind_name=work.recipe.kind, texts=texts)
    progress = work.progress.rows(verdicts.counts["kept"])
    receipts = shards.map_shards(work.store, works, fn, progress, work.known(step.name), light=True)
    lent = [replace(receipt, lender=form.name) for receipt, (_, form, _) in zip(receipts, families, strict=True)]
    found = {name: total(receipts, name) for name in ("kept", "quarantined")}
    return step.manifest(lent, {"in": verdicts.counts["kept"], **found})  # a manifest that does not balance is refused


def samples(
    given: Mapping[str, str],
    raw: pa.Table,
    forms: pa.Table,
    verdicts: pa.Table,
    *,
    kind_name: str,
    texts: Sequence[str] = (),
    careful: bool = False,
) -> tuple[pa.Table, dict[str, int]]:
    """The kept rows, their media borrowed from the shard whose digest is `forms` of `given`. A row that has no form
    stays as a row with `error` and is quarantined."""
    kept = verdicts["kept"]
    place = pa.array(np.flatnonzero(kept.to_numpy()), pa.int32())
    raw, forms, verdicts = only(raw, kept), only(forms, kept), only(verdicts, kept)
    rows = raw.num_rows
    table = sample_table(
        rows,
        texts,
        id=raw["id"],
        label=verdicts["label"],
        objects=pa.array(_objects(kind(kind_name), verdicts, forms), schema.SAMPLES.field("objects").type),
        weight=verdicts["weight"],
        split=verdicts["split"],
        origin=pa.array(["real"] * rows, pa.string()),
        source=raw["source"],
        url=raw["url"],
        page=raw["page"],
        error=forms["error"],
        **{name: raw[name] for name in ("licence", *texts) if name in raw.column_names},
    )
    size = forms["size"]
    found = counts(table, size)
    return borrowed(table, "media", given["forms"], pc.if_else(pc.is_null(size), None, place)), found


def _objects(of_kind: Kind, verdicts: pa.Table, forms: pa.Table) -> list[list[Object] | None]:
    """What is marked in each row, where it is in the row's form."""
    objects = marked(verdicts)
    if not any(objects):
        return [None] * verdicts.num_rows
    frames = forms["frame"].to_pylist()
    both = zip(objects, frames, strict=True)
    return [of_kind.place(marks, frame) or None if marks and frame else None for marks, frame in both]
