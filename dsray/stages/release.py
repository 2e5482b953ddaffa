"""samples + scores → a release: Parquet shards by split, origin and hash bucket, a card, a manifest and a report.

A reader sees the version before or this one: objects are created once, and the ref to the newest version moves last.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dsray.errors import DsrayError, GateError, LakeError, RecipeError
from dsray.kinds import Kind, kind
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt
from dsray.lake.store import Store
from dsray.lake.tombstones import Tombstones
from dsray.recipe import Recipe
from dsray.stages import buckets, versions
from dsray.stages.buckets import Before
from dsray.stages.gates import Gate, check, gates
from dsray.stages.moments import channels_first, values
from dsray.stages.retrain import parent
from dsray.stages.samples import RARE
from dsray.stages.select import by_count
from dsray.stages.step import Made, Step, Work, balance, digests, total
from dsray.stages.train import class_names, class_numbers

VERSION = 4

_NAMED = 4  # rules that are named when they leave nothing


@dataclass(frozen=True)
class Part:
    """One origin of rows in a release: `real`, `augmented`, `gan`, ... and the sample shards that hold them."""

    name: str
    manifest: Manifest

    @property
    def synthetic(self) -> bool:
        return self.manifest.stage == "synthesize"


def parts(made: Made) -> list[Part]:
    names = {"gather": "real", "augment": "augmented"}
    found = [Part(names[name], made[name]) for name in names if name in made]
    return found + [Part(n.removeprefix("synthesize "), m) for n, m in made.items() if n.startswith("synthesize ")]


def step(recipe: Recipe, made: Made, accept: str | None = None, forgotten: Tombstones | None = None) -> Step:
    """What is in a release: its rows and scores, not the stages' keys: other ways to the same rows are the same.

    `accept` is the reason to release in spite of gates that fail; where none does, it is nothing. Rows of a model that
    learned from rows that were `forgotten` are not released for any reason: GateError.
    """
    if forgotten and forgotten.models:
        untainted(made, forgotten.models)
    asked = gates_of(recipe, made)
    params = {
        "dataset": recipe.dataset, "kind": recipe.kind, "classes": class_names(made), "texts": recipe.texts(),
        "settings": recipe.release.model_dump(mode="json"), "gates": asked,
        "columns": [name for name in RARE if any(total(part.manifest.shards, f"has:{name}") for part in parts(made))],
        "form": form_of(recipe, made), "shape": shape_of(recipe, made),
    }  # fmt: skip
    if accept and not all(gate["passed"] for gate in asked):
        params["accepted"] = accept
    return Step("release", "release", VERSION, params, [d for part in parts(made) for d in digests(part.manifest)])


def untainted(made: Made, tainted: frozenset[str]) -> None:
    """Raises GateError for synthetic rows of a model that learned from forgotten rows, or began with one's networks."""
    for part in parts(made):
        if not part.synthetic:
            continue
        model = made[f"train {part.name}"]
        if tainted.intersection([*digests(model), parent(model.params) or ""]):
            raise GateError(
                f"The release is refused: {part.name} learned from rows that were forgotten.",
                f"Train it again: set another `synthesize.{part.name}.seed`, or leave it out; --accept does not help.",
            )


def form_of(recipe: Recipe, made: Made) -> dict[str, Any]:
    """What loaders make of bytes: `values`, and for standard ones `mean` and `std` of each channel."""
    form: dict[str, Any] = {"values": recipe.release.values}
    if recipe.release.values == "standard":
        form |= {name: made["moments"].details[name] for name in ("mean", "std")}
    return form


def shape_of(recipe: Recipe, made: Made) -> list[int] | None:
    """The shape of every tensor, channels first; None when none are written. Raises RecipeError for several."""
    if not recipe.release.tensor:
        return None
    shapes = made["moments"].details["shapes"]
    if len(shapes) > 1:
        raise RecipeError(
            f"release.tensor: samples have {len(shapes)} shapes ({shapes[0]}, {shapes[1]}, ...).",
            "Let `render` give all one size, or leave `tensor` out.",
        )
    return [shapes[0][-1], *shapes[0][:-1]] if shapes else None


def gates_of(recipe: Recipe, made: Made) -> list[Gate]:
    """The recipe's gates on the scores that evaluate measured: another limit measures nothing again.

    Raises GateError for synthetic rows of a model that was never evaluated.
    """
    scores = made["evaluate"].details["scores"] if "evaluate" in made else {}
    for part in parts(made):
        if part.synthetic and part.name not in scores:
            raise GateError(
                f"The release is refused: the rows of {part.name} were never evaluated.",
                "Run the recipe again, with `evaluate` as it is.",
            )
    return gates(scores, recipe.evaluate.gates)


def run(step: Step, made: Made, work: Work) -> Manifest:
    if "accepted" not in step.params:
        check(step.params["gates"])
    if not made["gather"].counts["kept"]:
        raise empty(made)
    version = claim(work.store, step)
    prefix = f"releases/{work.recipe.dataset}/v{version}/"
    receipts = write_parts(step, made, work, prefix)
    from dsray.stages.documents import documents

    for name, text in documents(step, made, work, version, receipts).items():
        work.store.create(prefix + name, text.encode())
    for receipt in receipts:
        if work.store.head(receipt.name) is None:
            raise LakeError(f"{receipt.name} has vanished from the lake.", "Run again to make it again.")
    versions.publish(work.store, step.params["dataset"], version, step.key)
    rows = sum(part.manifest.counts["kept"] for part in parts(made))
    details = {"version": version, "prefix": prefix, "again": again(made, work.recipe)}
    return step.manifest(receipts, balance(rows), details)


def empty(made: Made) -> DsrayError:
    """That there is nothing to release, with the rules that took most rows, and what mends the first of them."""
    lost = Counter(made["select"].details["quarantine"])
    lost["no form"] += made["gather"].counts["quarantined"]
    rules = by_count(+lost)
    if not rules:
        return DsrayError("The release would be empty: no row was collected.", "Correct what `collect` reads.")
    said = [f"{count:,} {rule}" for rule, count in rules[:_NAMED]] + ["..."] * (len(rules) > _NAMED)
    ways = {
        "unlabelled": "Say under `label` what the rows are, or set select.drop.unlabelled to false",
        "undecodable": "Correct `kind`, or what `collect` reads",
        "no form": "Correct `render`",
    }
    otherwise = "Change `select`, or what `collect` reads; `dsray plan --set` shows what another threshold keeps"
    shown = "; `dsray show recipe.yaml --quarantine` shows such rows" if made["select"].details["quarantine"] else ""
    return DsrayError(
        f"The release would be empty: none of {made['select'].counts['in']:,} rows is left ({', '.join(said)}).",
        f"{ways.get(rules[0][0], otherwise)}{shown}.",
    )


def again(made: Made, recipe: Recipe) -> dict[str, Any]:
    """What it takes to make the release again, should the lake be damaged. The recipe is a text: its order matters."""
    asked = {name: made["collect"].params[name] for name in ("crawl", "revisit")}
    return {
        "recipe": json.dumps(recipe.model_dump(mode="json")),
        "steps": {name: m.key for name, m in made.items()},
        **asked,
    }


def claim(store: Store, step: Step) -> int:
    """The version that this release is, or becomes: the first that nobody else holds."""
    there = versions.published(store, step.params["dataset"])
    for number, entry in there.items():
        if entry["key"] == step.key:
            return number
    number = max(there, default=0) + 1
    while True:
        name = f"releases/{step.params['dataset']}/v{number}/claim.json"
        text = versions.claimed(step.key)
        if store.create(name, text) or store.read(name) == text:
            return number
        number += 1


def write_parts(step: Step, made: Made, work: Work, prefix: str) -> list[Receipt]:
    """The shards of every part."""
    receipts: list[Receipt] = []
    rows = sum(part.manifest.counts["kept"] for part in parts(made))
    old = before(step, made, work)
    count = partial(buckets.counts, shard_mb=step.params["settings"]["shard_mb"], shape=step.params["shape"])
    form = partial(release_table, params=step.params)
    for part in parts(made):
        samples, was = part.manifest.shards, old.get(part.name)
        wanted = count(samples)
        same = was if was and count(was.samples) == wanted else None
        receipts += buckets.write(work.store, prefix, part.name, samples, wanted, form, same)
        work.progress.show(sum(receipt.rows for receipt in receipts), rows, "")
    return sorted(receipts, key=lambda receipt: receipt.name)


def before(step: Step, made: Made, work: Work) -> dict[str, Before]:
    """Part → what it was in the last build, if the last release was made of that, and in the same form."""
    last = work.before(step.name)
    if last is None or last.version != VERSION or _form(last.params) != _form(step.params):
        return {}
    of_rows = [name for name in made if name.split()[0] in ("gather", "augment", "synthesize")]
    was = parts({name: manifest for name in of_rows if (manifest := work.before(name))})
    if last.inputs != [digest for part in was for digest in digests(part.manifest)]:
        return {}
    return {part.name: Before(part.manifest.shards, last.details["prefix"], last.shards) for part in was}


def _form(params: dict[str, Any]) -> dict[str, Any]:
    """What the bytes of a shard depend on, besides its rows."""
    return {name: value for name, value in params.items() if name not in ("gates", "accepted")}


def release_table(samples: pa.Table, params: dict[str, Any]) -> pa.Table:
    """Sample rows as readers get them: sorted by id, class numbers, Hugging Face's features in the metadata."""
    samples = samples.sort_by("id").combine_chunks()
    classes, of_kind = params["classes"], kind(params["kind"])
    columns: dict[str, Any] = {"id": samples["id"], of_kind.COLUMN: samples["media"]}
    columns["label"] = _numbers(samples["label"], classes)
    origin = ("source", "url", "page", "licence", "parent", "transform", "model", "seed", "index")
    for name in (*params["columns"], "origin", *params["texts"], *origin):
        columns[name] = _mixed(samples[name], classes) if name == "mixed" else samples[name]
    if params["shape"]:
        columns["tensor"] = tensors(samples["media"], of_kind, params["form"], params["shape"])
    table = pa.table(columns)
    features = features_of(table.schema, params["kind"], classes)
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def _numbers(labels: Any, classes: list[str]) -> pa.Array:
    return pa.array(class_numbers(labels.to_pylist(), classes), pa.int64(), mask=pc.is_null(labels).to_numpy(False))


def _mixed(mixed: pa.ChunkedArray, classes: list[str]) -> pa.StructArray:
    """schema.MIXED with the label's class number."""
    mixed = mixed.combine_chunks()
    parent, label, share = (pc.struct_field(mixed, name) for name in ("parent", "label", "share"))
    columns = [parent, _numbers(label, classes), share]
    return pa.StructArray.from_arrays(columns, ["parent", "label", "share"], mask=pc.is_null(mixed))


def tensors(media: pa.ChunkedArray, of_kind: Kind, form: dict[str, Any], shape: Sequence[int]) -> pa.Array:
    """Float32 of one shape, channels first, as lists in lists of fixed sizes: `datasets` knows no Arrow tensors.

    Raises DsrayError for a sample of another shape.
    """
    try:
        arrays = of_kind.to_arrays(pc.struct_field(media, "bytes").to_pylist())
        numbers = channels_first(values(arrays, form)) if len(media) else np.zeros((0, *shape), np.float32)
        if list(numbers.shape[1:]) != list(shape):
            raise ValueError(f"{list(numbers.shape[1:])}")
    except ValueError as error:
        raise DsrayError(
            f"A sample's tensor is not {list(shape)} as all others: {error}.", "Leave `release.tensor` out."
        ) from error
    column = pa.array(numbers.ravel())
    for size in reversed(shape):
        column = pa.FixedSizeListArray.from_arrays(column, size)
    return column


def features_of(columns: pa.Schema, kind_name: str, classes: list[str]) -> dict[str, Any]:
    """Hugging Face's description of the columns. Fields of structs keep their order: else `datasets` ignores them."""
    features = {field.name: _feature(field.type) for field in columns}
    features[kind(kind_name).COLUMN] = kind(kind_name).FEATURE
    if classes:
        features["label"] = {"names": classes, "_type": "ClassLabel"}
        if "mixed" in features:
            features["mixed"]["label"] = features["label"]
    return features


def _feature(of: pa.DataType) -> dict[str, Any]:
    if pa.types.is_struct(of):
        return {of.field(place).name: _feature(of.field(place).type) for place in range(of.num_fields)}
    if pa.types.is_list(of):
        return {"feature": _feature(of.value_type), "_type": "List"}
    if pa.types.is_fixed_size_list(of):
        shape = []
        while pa.types.is_fixed_size_list(of):
            shape.append(of.list_size)
            of = of.value_type
        if len(shape) == 1:
            return {"feature": _feature(of), "length": shape[0], "_type": "List"}
        return {"shape": shape, "dtype": "float32", "_type": f"Array{len(shape)}D"}
    names = {pa.int64(): "int64", pa.float64(): "float64", pa.float32(): "float32"}
    return {"dtype": names.get(of, "string"), "_type": "Value"}
