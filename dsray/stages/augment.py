"""training samples → more training samples, each with its parents and the parameters that make it again."""

import json
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dsray import keys, plugin, rng, schema
from dsray.errors import DsrayError, RecipeError
from dsray.kinds import Kind, Marked, Object, code, kind
from dsray.lake.manifests import Manifest
from dsray.recipe import Augment, Recipe
from dsray.stages.own import step_of
from dsray.stages.samples import counts, good, marked, media, only, sample_table
from dsray.stages.step import Made, Step, Work, digests, total

VERSION = 2

Array = np.ndarray[Any, Any]
Spec = dict[str, Any]


def step(recipe: Recipe, made: Made) -> Step:
    """Only for a recipe that asks for copies."""
    wanted = recipe.augment
    assert wanted
    params = {
        "kind": recipe.kind, "seed": recipe.seed, "spec": wanted.spec(),
        "classes": policies(wanted, made["select"].details["classes"]),
        "own": [said.model_dump(mode="json") for said in wanted.own],
        "code": plugin.versions([*code(recipe.kind), *(said.function for said in wanted.own)]),
    }  # fmt: skip
    return Step("augment", "augment", VERSION, params, digests(made["gather"]))


def policies(wanted: Augment, classes: Mapping[str, Mapping[str, int]]) -> dict[str, Spec]:
    """Label → copies and transforms, where they are not as for every class. `classes`: label → split → rows.

    With `even`, a class gets as many copies as bring it nearest to the largest. Raises RecipeError for a label that
    no row has.
    """
    rows = {label: splits.get("train", 0) for label, splits in classes.items() if label != "None"}
    if unknown := sorted(wanted.classes.keys() - rows.keys()):
        raise RecipeError(f"augment.classes: no row has the label '{unknown[0]}'.", f"There are: {', '.join(rows)}.")
    spec = wanted.spec()
    found = {label: spec | wanted.classes[label].model_dump(mode="json") for label in sorted(wanted.classes)}
    if wanted.even:
        copies = {label: found.get(label, spec)["copies"] for label in rows}
        most = max((count * (1 + copies[label]) for label, count in rows.items()), default=0)
        for label, count in rows.items():
            said = label in wanted.classes and "copies" in wanted.classes[label].model_fields_set
            if count and not said:
                due = (2 * most + count) // (2 * count) - 1  # the nearest whole number
                found[label] = found.get(label, spec) | {"copies": max(copies[label], min(due, wanted.even))}
    return {label: found[label] for label in sorted(found) if found[label] != spec}


def run(step: Step, made: Made, work: Work) -> Manifest:
    from dsray.engine import shards

    samples = made["gather"].shards
    works = [shards.Work(name, [(r, None)]) for name, r in zip(step.names(samples), samples, strict=True)]
    said = {name: step.params[name] for name in ("seed", "spec", "classes", "own")}
    fn = partial(copies, kind_name=work.recipe.kind, **said)
    receipts = shards.map_shards(work.store, works, fn, work.progress.rows(None), work.known(step.name))
    return step.manifest(receipts, {name: total(receipts, name) for name in ("in", "kept", "quarantined")})


def copies(
    samples: pa.Table,
    *,
    kind_name: str,
    seed: int,
    spec: Spec,
    classes: Mapping[str, Spec] = {},
    own: Sequence[dict[str, Any]] = (),
    careful: bool = False,
) -> tuple[pa.Table, dict[str, int]]:
    """The copies of every training row, one row after the other; `in` counts the rows that are due.

    `spec` holds the copies and transforms, `classes` those of some labels. A mixed row's partner is a training row of
    the same table.
    """
    of_kind = kind(kind_name)
    train = good(samples)
    train = only(train, pc.equal(train["split"], "train"))
    ids, labels = train["id"].to_pylist(), train["label"].to_pylist()
    due = [(row, copy) for row, label in enumerate(labels) for copy in range(classes.get(label, spec)["copies"])]
    transforms = _transforms(of_kind, seed, ids, [classes.get(label, spec) for label in labels], own)
    payloads, marks = pc.struct_field(train["media"], "bytes"), marked(train)
    place = {row_id: row for row, row_id in enumerate(ids)}

    def sample(row: int) -> Marked:  # one at a time: a list of payloads would hold the shard twice
        return payloads[row].as_py(), marks[row] or []

    def make(row: int, copy: int) -> Marked:
        transform = transforms[row, copy]
        partner = sample(place[transform["partner"]]) if "partner" in transform else None
        return again(of_kind, transform, sample(row), partner)

    made, objects, errors = each(make, [row for row, _ in due], [copy for _, copy in due])
    table = _table(train, due, seed, [transforms[one] for one in due], made, objects, errors)
    return table, counts(table)


def each(
    make: Callable[..., Marked], *arguments: Iterable[Any]
) -> tuple[list[bytes | None], list[list[Object] | None], list[str | None]]:
    """`make` of each row: (media, objects, errors). A row that fails stops no other; only what a user must mend is
    raised."""
    made: list[bytes | None] = []
    objects: list[list[Object] | None] = []
    errors: list[str | None] = []
    for row in zip(*arguments, strict=True):
        try:
            data, marks = make(*row)
            made.append(data)
            objects.append(marks or None)
            errors.append(None)
        except DsrayError:
            raise
        except Exception as error:
            made.append(None)
            objects.append(None)
            errors.append(f"{type(error).__name__}: {error}"[:200])
    return made, objects, errors


def again(of_kind: Kind, transform: dict[str, Any], parent: Marked, partner: Marked | None = None) -> Marked:
    """An augmented row from the JSON in its column `transform` and from its parents, the same bytes each time."""
    own = [step_of(said["function"], np.array(said["u"]), **said["options"]) for said in transform.get("own", ())]
    params = {name: value for name, value in transform.items() if name not in ("own", "partner")}
    return of_kind.apply(parent[0], params, parent[1], partner, own=own)


def _transforms(
    of_kind: Kind, seed: int, ids: Sequence[str], specs: Sequence[Spec], own: Sequence[dict[str, Any]]
) -> dict[tuple[int, int], dict[str, Any]]:
    """(row, copy) → what makes that copy, planned together for the rows of one policy."""
    found: dict[tuple[int, int], dict[str, Any]] = {}
    alike: dict[int, list[int]] = {}
    for row, spec in enumerate(specs):
        alike.setdefault(id(spec), []).append(row)
    for rows in alike.values():
        spec, here = specs[rows[0]], [ids[row] for row in rows]
        for copy in range(spec["copies"]):
            planned = of_kind.plan(spec, seed, here, copy)
            for row, params, steps in zip(rows, planned, _own(own, seed, here, copy), strict=True):
                found[row, copy] = params | ({"own": steps} if steps else {})
    ranked = sorted(ids)
    for (row, copy), transform in found.items():
        if transform.get("mix") and len(ids) > 1:
            transform["partner"] = _partner(ranked, ids[row], seed, copy)
        else:
            transform.pop("mix", None)
    return found


def _own(own: Sequence[dict[str, Any]], seed: int, ids: Sequence[str], copy: int) -> list[list[dict[str, Any]]]:
    """[rows][steps]: each step with its options and its numbers."""
    steps: list[list[dict[str, Any]]] = [[] for _ in ids]
    for number, said in enumerate(own):
        options = {name: value for name, value in said.items() if name != "function"}
        u_N8 = rng.uniform(seed, f"augment/own/{number}", rng.keys_of(ids), copy, draws=8)
        for row, u_8 in enumerate(u_N8.tolist()):
            steps[row].append({"function": said["function"], "options": options, "u": u_8})
    return steps


def _partner(ranked: Sequence[str], row_id: str, seed: int, copy: int) -> str:
    """Any other row, each as likely; the order of the rows changes nothing."""
    u = rng.uniform(seed, "augment/partner", rng.keys_of([row_id]), copy)[0, 0]
    place = int(u * (len(ranked) - 1))
    return ranked[place + (place >= bisect_left(ranked, row_id))]


def _table(
    train: pa.Table,
    due: Sequence[tuple[int, int]],
    seed: int,
    transforms: Sequence[dict[str, Any]],
    made: Sequence[bytes | None],
    objects: Sequence[list[Object] | None],
    errors: Sequence[str | None],
) -> pa.Table:
    texts = [name for name in train.column_names if name not in (*schema.SAMPLES.names, "error")]
    same = ("label", "weight", "split", "source", "url", "page", "licence", *texts)
    parents = train.select(["id", *same]).take(pa.array([row for row, _ in due], pa.int64()))  # and no media
    of_parent = parents["id"].to_pylist()
    ids = [
        keys.row_id("augment", str(seed), parent, str(copy)) for parent, (_, copy) in zip(of_parent, due, strict=True)
    ]
    endings = [path.split(".")[-1] for path in pc.struct_field(train["media"], "path").to_pylist()]
    paths = [f"{row_id}.{endings[row]}" for row_id, (row, _) in zip(ids, due, strict=True)]
    label_of = dict(zip(train["id"].to_pylist(), train["label"].to_pylist(), strict=True))
    mixed = [
        {"parent": t["partner"], "label": label_of[t["partner"]], "share": t["mix"]["share"]} if "mix" in t else None
        for t in transforms
    ]
    return sample_table(
        len(due),
        texts,
        id=pa.array(ids, pa.string()),
        media=media(made, paths),
        objects=pa.array(objects, schema.SAMPLES.field("objects").type),
        origin=pa.array(["augmented"] * len(due), pa.string()),
        parent=parents["id"],
        transform=pa.array([json.dumps(transform, sort_keys=True) for transform in transforms], pa.string()),
        mixed=pa.array(mixed, schema.MIXED),
        error=pa.array(errors, pa.string()),
        **{name: parents[name] for name in same},
    )
