"""Releases that hold a forgotten row, or were built beside one: its verdict or picture may stand in their reports."""

import json
import re
from collections.abc import Iterator
from typing import Any

from dsray.forget import derived
from dsray.lake import manifests, refs
from dsray.lake.session import FOLDER
from dsray.lake.store import Entry, Missing, Store
from dsray.recipe import Recipe
from dsray.recipe import of as recipe_of
from dsray.stages import versions

Release = tuple[str, int]

_NAME = re.compile(r"releases/([^/]+)/v(\d+)/")
CAME_TO = "came_to"
"""Of a last build whose release was forgotten: its version, whose recipe is the one to build again."""

_KEPT = ("manifest.json", "claim.json")
"""They tell what there was, and no row of it."""


def concerned(store: Store, rows: frozenset[str], collects: set[str]) -> list[Release]:
    """The versions, published or not, that were built from one of the manifests of collect, or hold one of the rows:
    what a manifest of collect says now need not be what it said when a version was built from it."""
    found = []
    for (dataset, number), entries in _versions(store).items():
        files = [entry for entry in entries if entry.name.split("/")[-1] not in _KEPT]
        if files and (_collect(store, dataset, number) in collects or _holds(store, files, rows)):
            found.append((dataset, number))
    return found


def withdraw(store: Store, release: Release, reason: str) -> Iterator[Entry]:
    """Takes a version from its readers, and its report from this machine; yields the objects to be deleted then."""
    dataset, number = release
    if number in versions.published(store, dataset):
        versions.withdraw(store, dataset, number, reason)
    (FOLDER / "reports" / f"{dataset}-v{number}.html").unlink(missing_ok=True)
    for entry in store.list(f"releases/{dataset}/v{number}/"):
        if entry.name.split("/")[-1] not in _KEPT:
            yield entry


def recipe(store: Store, dataset: str) -> tuple[Recipe | None, str | None]:
    """The recipe of the version that the last build came to, else of the newest, withdrawn or not; and why its gates
    were overruled, if they were."""
    value, _ = refs.get(store, f"builds/{dataset}")
    last = came_to(store, value or {})
    numbers = sorted(versions.published(store, dataset), reverse=True)
    for number in sorted(numbers, key=lambda number: number != last):
        if said := _manifest(store, dataset, number):
            return recipe_of(said["recipe"]), said.get("accepted", {}).get("reason")
    return None, None


def came_to(store: Store, build: refs.Value) -> int | None:
    """The version that the last build of a dataset came to; where an order took that, its ref still says which."""
    key = build.get("steps", {}).get("release")
    found = manifests.find(store, "release", key) if key else None
    return found.details["version"] if found else build.get(CAME_TO)


def _versions(store: Store) -> dict[Release, list[Entry]]:
    found: dict[Release, list[Entry]] = {}
    for entry in store.list("releases/"):
        if name := _NAME.match(entry.name):
            found.setdefault((name[1], int(name[2])), []).append(entry)
    return found


def _holds(store: Store, files: list[Entry], rows: frozenset[str]) -> bool:
    shards = [entry.name for entry in files if entry.name.endswith(".parquet")]
    return any(derived.naming(store, name, rows)[0] for name in shards)


def _collect(store: Store, dataset: str, number: int) -> str:
    said = _manifest(store, dataset, number)
    return str(said["stages"]["collect"]["key"]) if said else ""


def _manifest(store: Store, dataset: str, number: int) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(store.read(f"releases/{dataset}/v{number}/manifest.json"))
    except Missing:
        return None
    return found
