"""training samples → more training samples, each with its parent and the parameters that make it again."""

import json
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dsray import keys, plugin, schema
from dsray.kinds import Kind, Marked, Object, code, kind
from dsray.lake.manifests import Manifest
from dsray.lake.shards import name_of
from dsray.recipe import Recipe
from dsray.stages.render import counts, each, good, marked, media, only, sample_table
from dsray.stages.step import Made, Step, Work, digests, total

VERSION = 2


def step(recipe: Recipe, made: Made) -> Step:
    """Only for a recipe that asks for copies."""
    assert recipe.augment
    params = {
        "kind": recipe.kind, "code": plugin.versions(code(recipe.kind)), "seed": recipe.seed,
        "spec": recipe.augment.model_dump(mode="json"),
    }  # fmt: skip
    return Step("augment", "augment", VERSION, params, digests(made["render"]))


def run(step: Step, made: Made, work: Work) -> Manifest:
    from dsray.engine import shards

    real = made["render"]
    works = [shards.Work(name_of("augment", step.shard_key(r)), [(r, None)]) for r in real.shards]
    fn = partial(copies, kind_name=work.recipe.kind, seed=work.recipe.seed, spec=step.params["spec"])
    receipts = shards.map_shards(work.store, works, fn, work.progress.rows(None))
    return step.manifest(receipts, {name: total(receipts, name) for name in ("in", "kept", "quarantined")})


def copies(
    samples: pa.Table, *, kind_name: str, seed: int, spec: dict[str, Any], careful: bool = False
) -> tuple[pa.Table, dict[str, int]]:
    """`copies` rows for every training row; `in` counts the rows that are due: train rows × copies."""
    train = good(samples)
    train = only(train, pc.equal(train["split"], "train"))
    tables = [_copy(train, kind_name, seed, spec, number) for number in range(spec["copies"])]
    table = pa.concat_tables(tables)
    return table, counts(table)


def _copy(train: pa.Table, kind_name: str, seed: int, spec: dict[str, Any], number: int) -> pa.Table:
    of_kind = kind(kind_name)
    texts = [name for name in train.column_names if name not in (*schema.SAMPLES.names, "error")]
    parents = train["id"].to_pylist()
    params = of_kind.plan(spec, seed, parents, number)
    ids = [keys.row_id("augment", str(seed), parent, str(number)) for parent in parents]
    payloads = (value.as_py() for value in pc.struct_field(train["media"], "bytes"))
    made, objects, errors = each(partial(_apply, of_kind), payloads, params, marked(train))
    endings = [path.split(".")[-1] for path in pc.struct_field(train["media"], "path").to_pylist()]
    return sample_table(
        train.num_rows,
        texts,
        id=pa.array(ids, pa.string()),
        media=media(made, [f"{row}.{ending}" for row, ending in zip(ids, endings, strict=True)]),
        label=train["label"],
        objects=pa.array(objects, schema.SAMPLES.field("objects").type),
        weight=train["weight"],
        split=train["split"],
        origin=pa.array(["augmented"] * train.num_rows),
        source=train["source"],
        url=train["url"],
        page=train["page"],
        parent=train["id"],
        transform=pa.array([json.dumps(param, sort_keys=True) for param in params], pa.string()),
        error=pa.array(errors, pa.string()),
        **{name: train[name] for name in texts},
    )


def _apply(of_kind: Kind, media: bytes, params: dict[str, Any], objects: list[Object] | None) -> Marked:
    return of_kind.apply(media, params, objects or [])
