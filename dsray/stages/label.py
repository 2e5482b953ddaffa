"""raw → labels: the same rows in the same order. Each labeller is asked in turn; the first that answers wins."""

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from dsray import schema
from dsray.lake.manifests import Manifest
from dsray.lake.shards import name_of
from dsray.recipe import Recipe
from dsray.stages.step import Made, Step, Work, balance, digests

VERSION = 2


def step(recipe: Recipe, made: Made) -> Step:
    labellers = [labeller.model_dump(mode="json") for labeller in recipe.label]
    return Step("label", "label", VERSION, {"labellers": labellers}, digests(made["collect"]))


def run(step: Step, made: Made, work: Work) -> Manifest:
    from dsray.engine import shards

    labellers = step.params["labellers"]
    columns = ["id", *(f"{name}?" for name in sorted({labeller["pattern"]["column"] for labeller in labellers}))]
    works = [shards.Work(name_of("label", step.shard_key(raw)), [(raw, columns)]) for raw in made["collect"].shards]
    progress = work.progress.rows(made["collect"].counts["kept"])
    receipts = shards.map_shards(work.store, works, partial(labels, labellers=labellers), progress)
    return step.manifest(
        receipts, balance(sum(r.rows for r in receipts)), {"labelled": sum(r.counts["labelled"] for r in receipts)}
    )


def labels(
    raw: pa.Table, *, labellers: Sequence[dict[str, Any]], careful: bool = False
) -> tuple[pa.Table, dict[str, int]]:
    """One label row per raw row, null where no labeller answers."""
    label: list[str | None] = [None] * raw.num_rows
    source: list[str | None] = [None] * raw.num_rows
    for labeller in labellers:
        column, regex = labeller["pattern"]["column"], re.compile(labeller["pattern"]["regex"])
        texts = raw[column].to_pylist() if column in raw.column_names else [None] * raw.num_rows
        for row, text in enumerate(texts):
            if label[row] is None and text is not None and (match := regex.search(text)) and match.group(1) is not None:
                label[row], source[row] = match.group(1), f"pattern:{column}"
    sure = [None if name is None else 1.0 for name in label]
    votes = [
        None if name is None else [{"source": by, "label": name, "confidence": 1.0}]
        for name, by in zip(label, source, strict=True)
    ]
    objects = pa.nulls(raw.num_rows, schema.LABELS.field("objects").type)
    table = pa.table([raw["id"], label, source, sure, sure, votes, objects], schema=schema.LABELS)
    return table, {"labelled": raw.num_rows - label.count(None)}
