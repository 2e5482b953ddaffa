"""raw → forms: every row that can be decoded in the recipe's one canonical form; the same rows in the same order.

Which of them are kept is decided later, so another threshold renders nothing again.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from dsray import plugin, schema
from dsray.kinds import code, kind
from dsray.lake.manifests import Manifest
from dsray.lake.shards import name_of
from dsray.recipe import Recipe
from dsray.stages.decode import Seen, looks
from dsray.stages.samples import media
from dsray.stages.step import Made, Step, Work, balance, digests

VERSION = 3


def step(recipe: Recipe, made: Made) -> Step:
    spec = recipe.render.model_dump(mode="json")
    params = {"kind": recipe.kind, "code": plugin.versions(code(recipe.kind)), "spec": spec}
    return Step("render", "render", VERSION, params, digests(made["collect"]))


def run(step: Step, made: Made, work: Work) -> Manifest:
    """Adopts what measure made beside its facts; makes the rest, as after a change of the recipe's `render`."""
    from dsray.engine import shards

    raw = made["collect"]
    works = [shards.Work(name_of("render", step.shard_key(r)), [(r, ["id", "payload"])]) for r in raw.shards]
    fn = partial(forms, kind_name=work.recipe.kind, spec=step.params["spec"])
    receipts = shards.map_shards(work.store, works, fn, work.progress.rows(raw.counts["kept"]))
    return step.manifest(receipts, balance(sum(r.rows for r in receipts)))


def forms(
    raw: pa.Table, *, kind_name: str, spec: dict[str, Any], careful: bool = False
) -> tuple[pa.Table, dict[str, int]]:
    """One row of schema.FORMS per raw row. A payload that has no form gets `error`; nothing is dropped here."""
    return table(raw, looks(payloads(raw), kind(kind_name), None, spec, careful), kind_name, spec), {}


def payloads(raw: pa.Table) -> Iterator[bytes | None]:
    """One at a time: a list would hold the shard twice."""
    return (value.as_py() for value in raw["payload"])


def table(raw: pa.Table, rows: Sequence[Seen], kind_name: str, spec: dict[str, Any]) -> pa.Table:
    """The forms that were seen."""
    made = [row.form for row in rows if row.form]
    ending = kind(kind_name).extension(spec)
    columns = [
        raw["id"],
        pa.array([form.error for form in made], pa.string()),
        media([form.media for form in made], [f"{row}.{ending}" for row in raw["id"].to_pylist()]),
        pa.array([None if form.media is None else len(form.media) for form in made], pa.int64()),
        pa.array([form.frame for form in made], pa.list_(pa.float64())),
    ]
    return pa.table(columns, schema=schema.FORMS)
