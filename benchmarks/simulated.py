"""A lake without shards: a store in memory that holds the manifests of a build and answers for the shards they name."""

import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from dsray import build, keys
from dsray.lake import manifests, refs
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt
from dsray.lake.store import Data, Entry, Head, Missing
from dsray.recipe import Recipe, model
from dsray.stages import collect, label
from dsray.stages.step import Step, balance

ROWS = 100
"""Of a shard."""
BYTES = {"collect": 16384, "measure": 300, "render": 8192, "label": 120, "select": 200, "gather": 250, "augment": 8192}
"""Of a row, about as a build of small images has them."""


class Simulated:
    """Objects in a dict. Shards are names only: they can be looked for, and not read."""

    url = "s3://simulated/lake"
    far = False

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.shards: dict[str, int] = {}
        self.folders: dict[str, list[str]] = {}

    def put(self, name: str, size: int) -> None:
        """A shard is there from now on."""
        if name not in self.shards:
            self.folders.setdefault(name.rpartition("/")[0] + "/", []).append(name)
        self.shards[name] = size

    def read(self, name: str, sha256: str = "") -> bytes:
        try:
            return self.objects[name]
        except KeyError:
            raise Missing(f"There is no {self.url}/{name}.") from None

    def get(self, name: str) -> tuple[bytes, str]:
        data = self.read(name)
        return data, keys.digest(data)

    def create(self, name: str, data: Data, meta: Mapping[str, str] = {}, sha256: str = "") -> str:
        if name in self.objects:
            return ""
        self.objects[name] = bytes(data)
        return sha256 or keys.digest(data)

    def swap(self, name: str, data: bytes, etag: str | None) -> str:
        self.objects[name] = data
        return keys.digest(data)

    def head(self, name: str) -> Head | None:
        size = self.shards.get(name)
        return None if size is None else Head(size, "", "", {})

    def list(self, prefix: str) -> Iterator[Entry]:
        now = datetime(2026, 1, 1, tzinfo=UTC)
        yield from (Entry(name, self.shards[name], "", now) for name in self.folders.get(prefix, ()))

    def delete(self, name: str) -> None:
        self.objects.pop(name, None)

    def open(self, name: str) -> Any:
        raise Missing(f"{self.url} is simulated.")


def recipe() -> Recipe:
    """One crawl, every stage but models."""
    crawl = {
        "start": ["http://127.0.0.1/"],
        "allow_private": True,
        "item": {"image": "img::attr(src)", "caption": "figcaption::text"},
    }
    said = {
        "dataset": "simulated",
        "collect": {"site": {"crawl": crawl}},
        "label": [{"pattern": {"column": "caption", "regex": r"digit (\d)"}}],
        "render": {"side": 64, "mode": "L"},
        "augment": {"copies": 1},
    }
    return model("image").model_validate(said)


def built(store: Simulated, wanted: Recipe, count: int) -> None:
    """A whole build of `count` raw shards."""
    made: dict[str, Manifest] = {}
    for name, step_of, _ in build.stages(wanted):
        made[name] = manifests.publish(store, _manifest(store, step_of(wanted, made), made, wanted, count))
    steps = {name: one.key for name, one in made.items()}
    spent = {name: {"seconds": 60.0, "made": count * ROWS, "rows": count * ROWS} for name in made}
    refs.update(store, f"builds/{wanted.dataset}", lambda _: {"crawl": 0, "steps": steps, "spent": spent})


def crawled(store: Simulated, wanted: Recipe, count: int, changed: int) -> None:
    """A crawl that brought some other shards, of which nothing is measured yet."""
    step = collect.step(wanted, {}, crawl=1)
    manifests.publish(store, _manifest(store, step, {}, wanted, count, changed))
    refs.update(store, f"builds/{wanted.dataset}", lambda value: {**(value or {}), "crawl": 1})


def _manifest(
    store: Simulated, step: Step, made: dict[str, Manifest], wanted: Recipe, count: int, changed: int = 0
) -> Manifest:
    """What a stage would have written: a shard each raw shard, with digests that follow from the names."""
    if step.stage == "collect":
        digests = [_digest(f"raw {number} {number < changed}") for number in range(count)]
        names = [f"raw/site/{digest[:2]}/{digest}.parquet" for digest in sorted(digests)]
    elif step.stage == "release":
        names = [f"releases/simulated/v1/train/real-{number:05d}.parquet" for number in range(count // 16 + 1)]
    else:
        names = _names(step, made, wanted)
    size = BYTES.get(step.stage, 8192) * ROWS
    counts = {"in": ROWS, "kept": ROWS, "quarantined": 0, "rows:train": ROWS, "bytes:train": size}
    receipts = [Receipt(name, _digest(name), ROWS, size, counts if step.stage != "collect" else {}) for name in names]
    for receipt in receipts:
        store.put(receipt.name, size)
    details = {"classes": {str(digit): {"train": count * ROWS // 10} for digit in range(10)}, "quarantine": {}}
    return step.manifest(receipts, balance(len(receipts) * ROWS), details)


def _names(step: Step, made: dict[str, Manifest], wanted: Recipe) -> list[str]:
    if step.stage == "label":
        return label.names_of(step, made, wanted) or []
    reads = {"measure": ["collect"], "render": ["collect"], "select": ["collect", "measure", "label"],
             "gather": ["collect", "render", "select"], "augment": ["gather"]}  # fmt: skip
    return step.names(*(made[name].shards for name in reads[step.stage]))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
