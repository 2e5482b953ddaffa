"""A step is one stage of one build: what it would make, named by what makes it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dsray import keys
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt, name_of
from dsray.lake.store import Store
from dsray.recipe import Recipe

Made = Mapping[str, Manifest]
"""Step name → manifest, of the steps before."""


_FOLDERS = {
    "collect": ["raw/", "crawls/"],
    "measure": ["shards/measure/", "shards/render/"],
    "label": ["shards/label/", "shards/votes/"],
    "select": ["shards/select/", "shards/choose/"],
    "train": ["models/"],
    "evaluate": ["evaluations/"],
    "release": ["releases/"],
}
"""Stage → where its objects lie, of those that have more or others than `shards/<stage>/`."""


@dataclass(frozen=True)
class Step:
    """One piece of the build. `name` is unique in a build (train gan); `stage` names the code that makes it (train)."""

    name: str
    stage: str
    version: int
    params: dict[str, Any]
    inputs: list[str]
    note: str = ""
    """What a plan says of it."""
    key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", keys.key(self.stage, self.version, self.params, self.inputs))

    @property
    def folders(self) -> list[str]:
        """Where the step puts its objects, or finds those that were made before."""
        return _FOLDERS.get(self.stage, [f"shards/{self.stage}/"])

    def manifest(
        self, shards: list[Receipt], counts: Mapping[str, int], details: Mapping[str, Any] | None = None
    ) -> Manifest:
        """The manifest of this step, when `shards` are what it made."""
        return Manifest(
            self.stage, self.version, self.key, self.params, self.inputs, shards, dict(counts), dict(details or {})
        )

    def shard_key(self, *inputs: Receipt) -> str:
        """The key of one derived shard of this step."""
        return keys.key(self.stage, self.version, self.params, [receipt.digest for receipt in inputs])

    def names(self, *families: Sequence[Receipt]) -> list[str]:
        """Where the derived shards lie, one of each tuple of inputs: known before they are made."""
        return [name_of(self.stage, self.shard_key(*family)) for family in zip(*families, strict=True)]


@dataclass(frozen=True)
class Progress:
    """How a running step tells how far it is. `total` is None while nobody knows."""

    show: Callable[[int, int | None, str], None]

    def rows(self, total: int | None) -> Callable[[int, int], None]:
        """For the engine: (rows made, shards left)."""
        return lambda done, left: self.show(done, total, "")


@dataclass(frozen=True)
class Work:
    """What a step needs to run. `before` gives the manifest of a step in the last build, if it stands."""

    recipe: Recipe
    store: Store
    progress: Progress
    before: Callable[[str], Manifest | None] = lambda step: None

    def known(self, step: str) -> Sequence[Receipt]:
        """The shards that a step had in the last build: they are there, so that nobody needs to ask the store."""
        manifest = self.before(step)
        return manifest.shards if manifest else ()


def digests(manifest: Manifest) -> list[str]:
    """What a manifest's shards hold, whatever made them: the inputs of the next step's key."""
    return [receipt.digest for receipt in manifest.shards]


def total(shards: list[Receipt], count: str) -> int:
    """A count summed over receipts."""
    return sum(receipt.counts.get(count, 0) for receipt in shards)


def balance(rows: int, quarantined: int = 0) -> dict[str, int]:
    """The counts of a step that takes `rows` in."""
    return {"in": rows, "kept": rows - quarantined, "quarantined": quarantined}
