"""Making a row again from what is on the lake, and comparing: bytes with bytes, and what was said and decided of it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsray import keys, models, plugin
from dsray.errors import DsrayError
from dsray.kinds import Marked
from dsray.labels.model import LabelModel
from dsray.labels.votes import NOTHING, combine
from dsray.lake import lookup, shards
from dsray.lake.lookup import Place
from dsray.lake.shards import Receipt
from dsray.lake.store import Store
from dsray.stages import augment, label, measure, own, render
from dsray.stages.choose.outliers import Scale
from dsray.stages.choose.rules import Judge, failures
from dsray.stages.decode import Seen, careful_look
from dsray.stages.select import RAW_COLUMNS
from dsray.trace.builds import Build
from dsray.trace.trail import Said, Trail, parents, training


@dataclass(frozen=True)
class Check:
    """Something made again. `equal` is None where one row alone cannot tell."""

    what: str
    equal: bool | None
    words: str


def replay(store: Store, trail: Trail) -> list[Check]:
    """Every step of a row's making, run again. Raises DsrayError where the lake no longer has what that needs."""
    checks = list(_real(store, trail, trail.raw)) if trail.raw else [_made(store, trail)]
    if any(check.equal is False for check in checks):
        checks += _newer(trail.build)
    return checks


def _newer(build: Build) -> Iterator[Check]:
    """Why something may be made otherwise today: its code is another than when it was made."""
    for stage in (measure, render, label, augment):
        name = stage.__name__.split(".")[-1]
        if name in build.made:
            then, own_code = build.made[name].version, build.made[name].params.get("code", {})
            if then != stage.VERSION:
                yield Check("code", None, f"{name} is of version {stage.VERSION} here; version {then} made the row")
            for module, digest in plugin.versions(own_code).items():
                if digest != own_code[module]:
                    yield Check("code", None, f"{module} was changed since {name} called it")


def _made(store: Store, trail: Trail) -> Check:
    found = trail.sample()
    assert found
    step, place = found
    columns = ["parent", "mixed", "transform", "model", "seed", "index", "label"]
    said = lookup.one(store, place.shard, place.row, columns)
    media = trail.build.column if step == "release" else "media"
    held = lookup.one(store, place.shard, place.row, [media])[media]["bytes"]
    made = _augmented(store, trail.build, said) if said["parent"] else _synthetic(store, trail, said)
    check = _bytes(made, held, place.shard.name)
    apart = "" if check.equal or said["parent"] else _levels(trail.build, made, held)
    return Check(check.what, check.equal, check.words + apart)


def _real(store: Store, trail: Trail, raw: Place) -> Iterator[Check]:
    build, family = trail.build, trail.build.family(raw.shard)
    if family is None:
        raise _gone(build, trail.id)
    row = lookup.one(store, raw.shard, raw.row)
    facts, labelled, verdict = (
        lookup.one(store, family[step], raw.row) for step in ("measure", "label", "select")
    )  # fmt: skip
    if row["payload"] is not None:
        size, same = len(row["payload"]), keys.digest(row["payload"]) == row["digest"]
        yield Check("payload", same, f"{size:,} bytes, {'of its digest' if same else 'not of its digest'}")
        seen = _look(build, row["payload"])
        yield _facts(facts, seen)
        yield _form(store, trail, family["render"], raw.row, seen)
    else:
        yield Check("payload", None, f"none was kept: {row['error']}")
    yield _label(build, labelled)
    yield _verdict(store, build, raw, family, verdict)


def _look(build: Build, payload: bytes) -> Seen:
    """The payload decoded, measured and rendered, in a child process with limits."""
    signals = {name: plugin.load(function) for name, function in build.made["measure"].params["signals"].items()}
    return careful_look(payload, build.kind, signals, build.made["render"].params["spec"], own.steps(_touches(build)))


def _touches(build: Build) -> list[dict[str, Any]]:
    """The recipe's own steps on the canonical array; those that read files need the recipe, which a release holds."""
    said: list[dict[str, Any]] = build.made["render"].params.get("own", [])
    recipe = build.recipe() if said else None
    return render.steps(recipe) if recipe else said


def _facts(held: Said, seen: Seen) -> Check:
    names = [name for name in held if name not in ("id", "digest")]
    made = seen.facts or {}
    differ = [name for name in names if not _same(held[name], made.get(name))]
    words = f"{len(names)} of {len(names)} columns" if not differ else "; ".join(
        f"{name} is {made.get(name)}, and was {held[name]}" for name in differ[:3]
    )  # fmt: skip
    return Check("facts", not differ, words)


def _same(held: Any, made: Any) -> bool:
    if isinstance(held, float) and isinstance(made, float):
        return held == made or (held != held and made != made)
    return bool(np.array_equal(held, made)) if isinstance(held, list) else bool(held == made)


def _form(store: Store, trail: Trail, forms: Any, row: int, seen: Seen) -> Check:
    """The canonical form beside the release's, or beside the lake's where the row is in none."""
    error = seen.form.error if seen.form else None
    released = trail.within(trail.build.files)
    held = lookup.one(store, forms, row, ["media", "error"])
    if held["error"] or error:
        same = held["error"] == error
        return Check(
            "media", same, f"none, {error}" if same else f"{error or 'some'}, and was {held['error'] or 'some'}"
        )
    if released:
        column = trail.build.column
        bytes_ = lookup.one(store, released.shard, released.row, [column])[column]["bytes"]
        return _bytes(_media(seen), bytes_, released.shard.name)
    return _bytes(_media(seen), held["media"]["bytes"], forms.name)


def _media(seen: Seen) -> bytes:
    return (seen.form.media if seen.form else None) or b""


def _bytes(made: bytes, held: bytes, name: str) -> Check:
    if made == held:
        return Check("media", True, f"{len(made):,} bytes, as in {name}")
    at = next((place for place, pair in enumerate(zip(made, held, strict=False)) if pair[0] != pair[1]),
              min(len(made), len(held)))  # fmt: skip
    return Check("media", False, f"{len(made):,} bytes differ from the {len(held):,} in {name}, from byte {at:,} on")


def _label(build: Build, held: Said) -> Check:
    """The votes combined again; a label model is as its stage learned it from all rows."""
    made = build.made["label"]
    how, model = made.params["combine"], None
    if how == "model":
        sources = made.details["sources"].items()
        accuracy = {name: said["accuracy"] for name, said in sources if "accuracy" in said}
        model = LabelModel(accuracy, made.details["prior"])
    found = combine(held["votes"], how, model) if held["votes"] else NOTHING
    same = found == tuple(held[name] for name in ("label", "label_source", "confidence", "agreement"))
    votes = len(held["votes"] or ())
    said = f"{found.label or 'none'}, from {votes} vote{'s' * (votes != 1)} by {how}"
    return Check("label", same, said if same else f"{said}; it was {held['label']}")


def _verdict(store: Store, build: Build, raw: Place, family: dict[str, Receipt], held: Said) -> Check:
    """The rules on one row, from its facts and label; what other rows say of it is told, and not made again."""
    judge = build.made["select"].details["judge"]
    row = lookup.row_of(store, raw.shard, raw.row, RAW_COLUMNS)
    facts, labelled = (lookup.row_of(store, family[step], raw.row) for step in ("measure", "label"))
    (found,) = failures(row, facts, labelled, _judge(judge)).to_pylist()
    rule, was = found["rule"], held["rule"]
    if rule == was:
        same = found == {name: held[name] for name in found}
        words = "kept: it passes every rule on a row alone" if rule is None else f"{rule}, as its own facts say"
        return Check("verdict", same, words if same else f"{words}: {found['value']}, and was {held['value']}")
    if was == "superseded" or (rule is None and was is not None):
        return Check("verdict", None, f"{was}, which other rows decide")
    return Check("verdict", False, f"{rule or 'kept'} by its facts, and was {was or 'kept'}")


def _judge(words: Said) -> Judge:
    """The rules as a manifest holds them; outliers in feature space are not among them."""
    return Judge(
        [tuple(limit) for limit in words["limits"]],
        {(rule, side): share for rule, side, share in words["shares"]},
        [(signal, most, Scale(**scale)) for signal, most, scale in words["outliers"]],
        None,
        words["unlabelled"],
        words["agreement"],
    )


def _augmented(store: Store, build: Build, said: Said) -> bytes:
    """From the parents' payloads: decoded and rendered, then transformed as the row says."""
    found = parents(store, build, said)
    transform = json.loads(said["transform"])
    if len(found) != 1 + ("partner" in transform):
        raise _gone(build, said["parent"])
    samples = [_sample(store, build, place) for place in found]
    return augment.again(build.kind, transform, samples[0], samples[1] if len(samples) > 1 else None)[0]


def _sample(store: Store, build: Build, place: Place) -> Marked:
    """A real row's canonical form, made again, and what is marked in it."""
    family = build.family(place.shard)
    if family is None or "gather" not in family:
        raise _gone(build, place.value)
    (gathered,) = lookup.find(store, [family["gather"]], "id", place.value)
    objects = lookup.one(store, gathered.shard, gathered.row, ["objects"])["objects"]
    return _media(_look(build, lookup.one(store, place.shard, place.row, ["payload"])["payload"])), objects or []


def _synthetic(store: Store, trail: Trail, said: Said) -> bytes:
    """From model, seed and index. It is drawn alone: what is sampled beside a row changes none of its bits."""
    import torch
    from safetensors.torch import load

    from dsray.models import draw

    found = training([trail.build], said["model"]) or training(trail.known, said["model"])
    if found is None:
        raise DsrayError(f"The model {said['model'][:16]} of this row is no longer on {store.url}.", "Run its recipe.")
    manifest = found[2]
    architecture = models.architecture(manifest.params["architecture"])
    classes = manifest.params["classes"]
    number = classes.index(said["label"]) if isinstance(said["label"], str) else said["label"] or 0
    torch.set_num_threads(1)  # as the workers that sample
    images = draw.sample(
        architecture, architecture.Config(**manifest.params["config"]), load(shards.whole(store, manifest.shards[0])),
        np.array([number], np.int64), np.array([said["index"]], np.int64), said["seed"],
        "cuda" if torch.cuda.is_available() else "cpu", **json.loads(said["transform"] or "{}"),
    )  # fmt: skip
    return trail.build.kind.from_arrays(images)[0]


def _levels(build: Build, made: bytes, held: bytes) -> str:
    """How far two drawings of one synthetic row are apart: sums of floats differ a little between devices."""
    pair = build.kind.to_arrays([made, held]).astype(int)
    return f"; by {abs(pair[0] - pair[1]).max()} of 255 at most, as another device or PyTorch may"


def _gone(build: Build, row: str) -> DsrayError:
    return DsrayError(f"What row {row} was made of is no longer on the lake, or was never part of {build.name}.",
                      "Run its recipe again.")  # fmt: skip
