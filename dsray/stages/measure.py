"""raw → facts: the same rows in the same order, without the payload. Measured once; thresholds live in the recipe.

While a payload is decoded it is rendered too, where render has not made its forms yet: decoding costs the most.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from dsray import plugin, schema
from dsray.kinds import code, kind
from dsray.lake import shards as lake_shards
from dsray.lake.manifests import Manifest
from dsray.recipe import Recipe
from dsray.stages import own, render
from dsray.stages.decode import Seen, looks
from dsray.stages.step import Made, Step, Work, balance, digests

VERSION = 2


def step(recipe: Recipe, made: Made) -> Step:
    signals = recipe.measure.signals
    params = {"kind": recipe.kind, "signals": signals, "code": plugin.versions([*signals.values(), *code(recipe.kind)])}
    return Step("measure", "measure", VERSION, params, digests(made["collect"]))


def run(step: Step, made: Made, work: Work) -> Manifest:
    from dsray.engine import shards

    raw = made["collect"]
    rendering = render.step(work.recipe, made)
    forms = rendering.names(raw.shards)
    rendered = {receipt.name for receipt in work.known(rendering.name)}
    rendered |= lake_shards.there(work.store, [form for form in forms if form not in rendered])
    works = [
        shards.Work(
            name,
            [(r, ["id", "digest", "payload"])],
            {"render": form not in rendered},
            [] if form in rendered else [form],
        )
        for r, name, form in zip(raw.shards, step.names(raw.shards), forms, strict=True)
    ]
    said = {
        "kind_name": work.recipe.kind, "signals": work.recipe.measure.signals, "spec": rendering.params["spec"],
        "touches": render.steps(work.recipe),
    }  # fmt: skip
    progress = work.progress.rows(raw.counts["kept"])
    receipts = shards.map_shards(work.store, works, partial(facts_and_forms, **said), progress, work.known(step.name))
    return step.manifest(receipts, balance(sum(r.rows for r in receipts)))


def facts_and_forms(
    given: Mapping[str, bool],
    raw: pa.Table,
    *,
    kind_name: str,
    signals: Mapping[str, str],
    spec: dict[str, Any],
    touches: Sequence[dict[str, Any]] = (),
    careful: bool = False,
) -> list[tuple[pa.Table, dict[str, int]]]:
    """One fact row per raw row and, if `render` is given, one form, from one decode of each payload. What cannot be
    decoded gets `error`; nothing is dropped here.

    With `careful` every row is decoded in a child process with limits, and one that kills it is `crashed`.
    """
    of_own = {name: plugin.load(function) for name, function in signals.items()}
    drawn = spec if given["render"] else None
    rows = looks(render.payloads(raw), kind(kind_name), of_own, drawn, careful, own.steps(touches))
    made = [_table(raw, rows, kind_name, signals)]
    if given["render"]:
        made.append(render.table(raw, rows, kind_name, spec))
    return [(table, {}) for table in made]


def _table(raw: pa.Table, rows: Sequence[Seen], kind_name: str, signals: Mapping[str, str]) -> pa.Table:
    of_own = pa.schema([(name, pa.float64()) for name in signals])
    columns = pa.unify_schemas([schema.FACTS, kind(kind_name).FACTS, of_own])
    found = [row.facts for row in rows if row.facts is not None]
    named = zip(raw["id"].to_pylist(), raw["digest"].to_pylist(), found, strict=True)
    return pa.Table.from_pylist([{"id": i, "digest": d, **row} for i, d, row in named], schema=columns)
