"""samples + scores → a release: Parquet shards by split, origin and hash bucket, a card, a manifest and a report.

A reader sees the version before or this one: objects are created once, and the ref to the newest version moves last.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dsray import keys, rng, schema
from dsray.errors import DsrayError, GateError, LakeError, RecipeError
from dsray.kinds import Kind, kind
from dsray.lake import refs, shards
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt
from dsray.lake.store import Store
from dsray.recipe import Recipe
from dsray.stages.gates import Gate, check, gates
from dsray.stages.moments import channels_first, values
from dsray.stages.samples import RARE, good
from dsray.stages.step import Made, Step, Work, balance, digests, total
from dsray.stages.train import class_names, class_numbers

VERSION = 3

_BUCKET = "bucket"


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


def step(recipe: Recipe, made: Made, accept: str | None = None) -> Step:
    """What is in a release: its rows and scores, not the stages' keys: other ways to the same rows are the same.

    `accept` is the reason to release in spite of gates that fail; where none does, it is nothing.
    """
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
    version = claim(work.store, step)
    prefix = f"releases/{work.recipe.dataset}/v{version}/"
    receipts = write_parts(step, made, work, prefix)
    from dsray.stages.documents import documents

    for name, text in documents(step, made, work, version, receipts).items():
        work.store.create(prefix + name, text.encode())
    for receipt in receipts:
        if work.store.head(receipt.name) is None:
            raise LakeError(f"{receipt.name} has vanished from the lake.", "Run again to make it again.")
    publish(work.store, step, version)
    rows = sum(part.manifest.counts["kept"] for part in parts(made))
    return step.manifest(receipts, balance(rows), {"version": version, "prefix": prefix})


def claim(store: Store, step: Step) -> int:
    """The version that this release is, or becomes: the first that nobody else holds."""
    versions = published(store, step.params["dataset"])
    for number, entry in versions.items():
        if entry["key"] == step.key:
            return number
    number = max(versions, default=0) + 1
    while True:
        name = f"releases/{step.params['dataset']}/v{number}/claim.json"
        text = keys.canonical({"key": step.key})
        if store.create(name, text) or store.read(name) == text:
            return number
        number += 1


def publish(store: Store, step: Step, version: int) -> None:
    """Moves the dataset's ref: from here on readers see the version."""
    entry = {"key": step.key, "created": datetime.now(UTC).isoformat(timespec="seconds")}

    def change(value: dict[str, Any] | None) -> dict[str, Any]:
        versions = dict((value or {}).get("versions", {}))
        versions.setdefault(str(version), entry)
        return {"versions": versions, "latest": max(int(number) for number in versions)}

    refs.update(store, _ref(step.params["dataset"]), change)


def published(store: Store, dataset: str) -> dict[int, dict[str, Any]]:
    """The versions of a dataset that readers see."""
    value, _ = refs.get(store, _ref(dataset))
    return {int(number): entry for number, entry in (value or {}).get("versions", {}).items()}


def _ref(dataset: str) -> str:
    return f"releases/{dataset}"


def write_parts(step: Step, made: Made, work: Work, prefix: str) -> list[Receipt]:
    """Every part by hash bucket: the rows of a bucket meet on one worker, are sorted by id and put as one object."""
    from dsray.engine.exchange import exchange

    receipts: list[Receipt] = []
    rows = sum(part.manifest.counts["kept"] for part in parts(made))
    for part in parts(made):
        buckets = bucket_counts(part.manifest.shards, step.params["settings"]["shard_mb"], step.params["shape"])
        written = exchange(
            part.manifest.shards,
            partial(_load, store=work.store, buckets=buckets),
            _BUCKET,
            partial(_write, store=work.store, prefix=prefix, name=part.name, buckets=buckets, params=step.params),
            partitions=sum(buckets.values()),
        )
        receipts += [
            Receipt(**json.loads(text)) for text in (written["receipt"].to_pylist() if written.num_columns else [])
        ]
        work.progress.show(sum(receipt.rows for receipt in receipts), rows, "")
    return sorted(receipts, key=lambda receipt: receipt.name)


def bucket_counts(samples: list[Receipt], shard_mb: float, shape: Sequence[int] | None = None) -> dict[str, int]:
    """Split → number of shards, from the bytes of media and tensors: sharding and compression before don't matter."""
    sizes = {split: sum(r.counts.get(f"bytes:{split}", 0) for r in samples) for split in schema.SPLITS}
    rows = {split: sum(r.counts.get(f"rows:{split}", 0) for r in samples) for split in schema.SPLITS}
    tensor = 4 * math.prod(shape) if shape else 0
    sizes = {split: size + tensor * rows[split] for split, size in sizes.items()}
    return {split: max(1, math.ceil(sizes[split] / (shard_mb * 2**20))) for split in schema.SPLITS if rows[split]}


def _load(receipt: Receipt, *, store: Store, buckets: dict[str, int]) -> pa.Table:
    table = good(shards.read(store, receipt))
    row_keys = rng.keys_of(table["id"].to_pylist())
    names = [
        f"{split}/{int(key) % buckets[split]:05d}"
        for split, key in zip(table["split"].to_pylist(), row_keys, strict=True)
    ]
    return table.append_column(_BUCKET, pa.array(names, pa.string()))


def _write(
    rows: pa.Table, *, store: Store, prefix: str, name: str, buckets: dict[str, int], params: dict[str, Any]
) -> pa.Table:
    receipts = []
    for bucket, table in _by_bucket(rows):
        split, number = bucket.split("/")
        target = f"{prefix}{split}/{name}-{number}-of-{buckets[split]:05d}.parquet"
        shard = shards.write(store, target, release_table(table, params), {"rows": table.num_rows})
        receipts.append(json.dumps(shard.__dict__))
    return pa.table({"receipt": pa.array(receipts, pa.string())})


def _by_bucket(rows: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    if rows.num_rows == 0:
        return
    for bucket in sorted(pc.unique(rows[_BUCKET]).to_pylist()):
        yield bucket, rows.filter(pc.equal(rows[_BUCKET], bucket))


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
