"""A stage's manifest: what went in, which shards came out, what was counted. Written last: the completion."""

import gc
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from dsray import keys
from dsray.errors import ConservationError, LakeError
from dsray.lake.shards import Receipt
from dsray.lake.store import Missing, Store

_FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """The outcome of a stage."""

    stage: str
    version: int
    key: str
    params: dict[str, Any]
    inputs: list[str]
    shards: list[Receipt] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)


def find(store: Store, stage: str, key: str) -> Manifest | None:
    """The manifest that stands, or None. Raises LakeError on one that cannot be read."""
    name = name_of(stage, key)
    try:
        data = store.read(name)
    except Missing:
        return None
    try:
        with _no_collection():
            fields = json.loads(data)
            format_ = fields.pop("format")
            if format_ > _FORMAT:
                raise LakeError(f"{store.url}/{name} was written by a newer dsray (format {format_}).", "Update dsray.")
            return Manifest(**{**fields, "shards": [Receipt(**shard) for shard in fields["shards"]]})
    except (ValueError, TypeError, KeyError, AttributeError):
        raise LakeError(f"{store.url}/{name} is not a manifest.", "Delete it and run again to make it again.") from None


@contextmanager
def _no_collection() -> Iterator[None]:
    """A manifest is many objects and no garbage: looking for some again and again takes two fifths of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def publish(store: Store, manifest: Manifest) -> Manifest:
    """Publishes, create-only; the manifest that stands is returned, the first one wins. Raises ConservationError."""
    conserved(manifest.stage, manifest.counts)
    if store.create(name_of(manifest.stage, manifest.key), written(manifest)):
        return manifest
    found = find(store, manifest.stage, manifest.key)
    if found is None:
        name = name_of(manifest.stage, manifest.key)
        raise Missing(f"{store.url}/{name} was deleted while it was written.", "Run again.")
    return found


def conserved(stage: str, counts: Mapping[str, int]) -> None:
    """Rows in = rows kept + rows quarantined, for a stage that counts rows in. Raises ConservationError."""
    if "in" not in counts:
        return
    kept, quarantined = counts.get("kept"), counts.get("quarantined")
    if kept is None or quarantined is None or counts["in"] != kept + quarantined:
        raise ConservationError(
            f"Stage '{stage}' lost or invented rows: {counts['in']} in, {kept} kept, {quarantined} quarantined.",
            "This is a defect of dsray: please report it.",
        )


def written(manifest: Manifest) -> bytes:
    """A manifest as it lies on the lake."""
    return keys.canonical({"format": _FORMAT, **asdict(manifest)})


def name_of(stage: str, key: str) -> str:
    """Where a manifest lies."""
    return f"stages/{stage}/{key}.json"
