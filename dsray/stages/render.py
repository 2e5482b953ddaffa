"""raw → forms: every row that can be decoded in the recipe's one canonical form; the same rows in the same order.

Which of them are kept is decided later, so another threshold renders nothing again.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from dsray import keys, plugin, schema
from dsray.kinds import code, kind
from dsray.lake import folder
from dsray.lake.manifests import Manifest
from dsray.recipe import Finish, Recipe
from dsray.stages import own
from dsray.stages.decode import Seen, looks
from dsray.stages.samples import media
from dsray.stages.step import Made, Step, Work, balance, digests

VERSION = 3


def step(recipe: Recipe, made: Made) -> Step:
    touches = recipe.render.own
    functions = [said.function for said in touches]
    params = {
        "kind": recipe.kind, "code": plugin.versions([*code(recipe.kind), *functions]), "spec": recipe.render.spec(),
    } | ({"own": [told(said, keys.digest) for said in touches]} if touches else {})  # fmt: skip
    return Step("render", "render", VERSION, params, digests(made["collect"]))


def told(said: Finish, of_file: Callable[[bytes], Any]) -> dict[str, Any]:
    """A step of the recipe's own: function, options, and what `of_file` says of its files. Raises SourceError."""
    files = {option: of_file(folder.whole(path)) for option, path in said.files.items()}
    return said.model_dump(mode="json", exclude={"files"}) | files


def steps(recipe: Recipe) -> list[dict[str, Any]]:
    """The recipe's own steps as `forms` takes them."""
    return [told(said, bytes) for said in recipe.render.own]


def run(step: Step, made: Made, work: Work) -> Manifest:
    """Adopts what measure made beside its facts; makes the rest, as after a change of the recipe's `render`."""
    from dsray.engine import shards

    raw = made["collect"]
    named = zip(step.names(raw.shards), raw.shards, strict=True)
    works = [shards.Work(name, [(r, ["id", "payload"])]) for name, r in named]
    fn = partial(forms, kind_name=work.recipe.kind, spec=step.params["spec"], touches=steps(work.recipe))
    receipts = shards.map_shards(work.store, works, fn, work.progress.rows(raw.counts["kept"]), work.known(step.name))
    return step.manifest(receipts, balance(sum(r.rows for r in receipts)))


def forms(
    raw: pa.Table,
    *,
    kind_name: str,
    spec: dict[str, Any],
    touches: Sequence[dict[str, Any]] = (),
    careful: bool = False,
) -> tuple[pa.Table, dict[str, int]]:
    """One row of schema.FORMS per raw row. A payload that has no form gets `error`; nothing is dropped here."""
    rows = looks(payloads(raw), kind(kind_name), None, spec, careful, own.steps(touches))
    return table(raw, rows, kind_name, spec), {}


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
