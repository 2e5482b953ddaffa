"""Rows for people to label: those that matter most, with their media, as Label Studio or COCO reads them.

A file that people edited comes back through the recipe's `label: [file: ...]`.
"""

import json
import mimetypes
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from dsray import planning, rng
from dsray.errors import LakeError, RecipeError
from dsray.kinds import kind
from dsray.labels import coco, studio
from dsray.labels.forms import Shown
from dsray.lake import shards
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt
from dsray.lake.store import Store
from dsray.recipe import Recipe

FILES = {"label-studio": "tasks.json", "coco": "annotations.json"}
"""Format → the file that a person edits."""

MIX = {"conflict": 0.5, "uncertain": 0.25, "unlabelled": 0.25}
"""Shares by default; what one has too few of goes to the next, and what is left to random rows."""

ORDERS = (*MIX, "random")


class Candidate(NamedTuple):
    """A row in one of the orders: the smaller, the sooner. Ties go by a number of the row's own."""

    rank: float
    draw: float
    id: str
    digest: str
    shard: int


def export(
    recipe: Recipe, store: Store, folder: Path, *, format_: str = "label-studio", rows: int = 200, by: str | None = None
) -> Path:
    """Writes the media of the chosen rows, and the file to label them in; returns that file.

    Raises RecipeError when the labels are not made yet, or the folder has such a file.
    """
    made = _made(recipe, store)
    target = folder / FILES[format_]
    if target.exists():
        raise RecipeError(f"{target} is there already, with somebody's labels perhaps.", "Name another folder.")
    families = list(zip(made["collect"].shards, made["measure"].shards, made["label"].shards, strict=True))
    chosen = choose(families, store, recipe.seed, rows, by)
    if not chosen:
        raise LakeError("There is no such row to label.", "Try --by random.")
    shown = _shown(families, chosen, store, folder)
    classes = sorted(made["label"].details["classes"])
    if format_ == "coco":
        written: Any = coco.write(shown, classes)
    else:
        column = kind(recipe.kind).COLUMN
        written = studio.write(shown, column)
        marks = sorted({o["label"] for row in shown for o in row.objects if o["label"]}) or classes
        (folder / "config.xml").write_text(studio.config(column, classes, marks), encoding="utf-8")
    target.write_text(json.dumps(written, indent=1, ensure_ascii=False), encoding="utf-8")
    return target


def _made(recipe: Recipe, store: Store) -> dict[str, Manifest]:
    planned = {step.name: step.manifest for step in planning.plan(recipe, store)}
    found = {name: planned.get(name) for name in ("collect", "measure", "label")}
    if any(manifest is None for manifest in found.values()):
        raise RecipeError(f"The labels of {recipe.dataset} are not made yet, or not by this recipe.", "Run it first.")
    return {name: manifest for name, manifest in found.items() if manifest}


def choose(
    families: list[tuple[Receipt, Receipt, Receipt]], store: Store, seed: int, rows: int, by: str | None
) -> list[Candidate]:
    """The rows that matter most, one of each payload, however they lie in shards. Reads no payload."""

    def of_shard(at: int) -> dict[str, list[Candidate]]:
        _, facts, labels = families[at]
        table = shards.read(store, labels, ["id", "label", "confidence", "agreement"])
        measured = shards.read(store, facts, ["digest", "error"])
        return {order: once(found)[:rows] for order, found in candidates(table, measured, seed, at).items()}

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(of_shard, range(len(families))))
    orders = {order: once(c for part in found for c in part[order]) for order in ORDERS}
    return orders[by][:rows] if by else mixed(orders, rows)


def candidates(labels: pa.Table, facts: pa.Table, seed: int, shard: int = 0) -> dict[str, list[Candidate]]:
    """The rows of a shard that decode, in each order: `conflict` least agreement first, `uncertain` least confidence
    first, `unlabelled` and `random` by a number of the row's own."""
    found: dict[str, list[Candidate]] = {order: [] for order in ORDERS}
    draws = rng.uniform(seed, "label", rng.keys_of(labels["id"].to_pylist()))[:, 0].tolist()
    for row, fact, draw in zip(labels.to_pylist(), facts.to_pylist(), draws, strict=True):
        if fact["error"] is not None or fact["digest"] is None:
            continue

        def add(order: str, rank: float, *, who: tuple[float, str, str] = (draw, row["id"], fact["digest"])) -> None:
            found[order].append(Candidate(rank, *who, shard))

        add("random", 0.0)
        if row["label"] is None:
            add("unlabelled", 0.0)
            continue
        add("uncertain", row["confidence"])
        if row["agreement"] < 1:
            add("conflict", row["agreement"])
    return found


def once(found: Iterable[Candidate]) -> list[Candidate]:
    """In order, the first of each payload."""
    kept: dict[str, Candidate] = {}
    for candidate in sorted(found):
        kept.setdefault(candidate.digest, candidate)
    return list(kept.values())


def mixed(orders: dict[str, list[Candidate]], rows: int) -> list[Candidate]:
    """By the shares of MIX, each row once; then what is left of each order, in turn."""
    chosen: dict[str, Candidate] = {}

    def take(order: str, most: int) -> None:
        new = [candidate for candidate in orders[order] if candidate.digest not in chosen]
        chosen.update({candidate.digest: candidate for candidate in new[:most]})

    owed = 0.0
    for order, share in MIX.items():
        owed += share * rows
        take(order, round(owed) - len(chosen))
    for order in ORDERS:
        if order != "uncertain":  # the surest rows are uncertain to nobody: random ones tell more
            take(order, rows - len(chosen))
    return list(chosen.values())


def _shown(
    families: list[tuple[Receipt, Receipt, Receipt]], chosen: list[Candidate], store: Store, folder: Path
) -> list[Shown]:
    """The chosen rows, in their order, with their media written below the folder. One shard in memory at a time."""
    (folder / "media").mkdir(parents=True, exist_ok=True)
    found: dict[str, Shown] = {}
    for at in sorted({candidate.shard for candidate in chosen}):
        wanted = [candidate.id for candidate in chosen if candidate.shard == at]
        raw = shards.read(store, families[at][0], ["id", "url", "page", "headers", "payload"])
        rows = pa.compute.is_in(raw["id"], pa.array(wanted))
        raw, facts, labels = (
            table.filter(rows) for table in (raw, *(shards.read(store, one) for one in families[at][1:]))
        )
        for row, fact, label in zip(raw.to_pylist(), facts.to_pylist(), labels.to_pylist(), strict=True):
            name = f"media/{row['id']}{_ending(row, fact)}"
            (folder / name).write_bytes(row["payload"])
            found[row["id"]] = Shown(
                row["id"], name, row["url"], row["page"] or "", fact.get("width"), fact.get("height"),
                label["label"], label["confidence"], label["votes"] or [], label["objects"] or [],
            )  # fmt: skip
    return [found[candidate.id] for candidate in chosen]


def _ending(row: dict[str, Any], fact: dict[str, Any]) -> str:
    """Of the file's name: by its own format, else by what it was said to be."""
    if fact.get("format"):
        return f".{fact['format'].lower()}"
    told = json.loads(row["headers"] or "{}").get("content-type", "").partition(";")[0]
    return mimetypes.guess_extension(told) or Path(row["url"].partition("?")[0]).suffix[:8]
