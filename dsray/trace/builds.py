"""The builds that a lake knows of, and how their shards follow from each other: shard i of a stage comes of shard i of
the stage before."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from dsray import recipe as recipes
from dsray.dataset import version
from dsray.kinds import Kind, kind
from dsray.lake import manifests, refs
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt
from dsray.lake.store import Missing, Store
from dsray.recipe import Recipe
from dsray.stages import versions
from dsray.stages.step import digests

_THREADS = 16
_LIFE = ("collect", "measure", "render", "label", "select", "gather", "augment", "train", "synthesize", "moments",
         "evaluate", "release")  # fmt: skip
_OF = {
    "measure": ("collect",), "render": ("collect",), "label": ("collect",), "select": ("measure", "label"),
    "gather": ("collect", "render", "select"), "augment": ("gather",),
}  # fmt: skip
"""Stage → those whose shards it was made of."""
_OF_A_ROW = ("collect", "measure", "render", "label", "select")
"""Stages whose shards have the same rows in the same order."""


@dataclass(frozen=True, eq=False)
class Build:
    """One build of a dataset: the manifests of its steps that are still there and, if it was released, the version."""

    dataset: str
    made: dict[str, Manifest]
    number: int | None = None
    release: dict[str, Any] | None = None
    withdrawn: str = ""
    created: str = ""

    @property
    def name(self) -> str:
        return f"{self.dataset}@v{self.number}" if self.number else f"{self.dataset}, not released"

    @property
    def prefix(self) -> str:
        return f"releases/{self.dataset}/v{self.number}/"

    @property
    def files(self) -> list[Receipt]:
        """The shards of the release."""
        return [Receipt(**fields) for fields in self.release["shards"]] if self.release else []

    @property
    def kind(self) -> Kind:
        """Of its samples."""
        return kind(self.made["render"].params["kind"] if "render" in self.made else (self.release or {})["kind"])

    @property
    def column(self) -> str:
        """The column of a release's samples."""
        return self.kind.COLUMN

    def recipe(self) -> Recipe | None:
        """The recipe of a release."""
        return recipes.of(self.release["recipe"]) if self.release else None

    def shards(self, step: str) -> list[Receipt]:
        """What a step made; nothing where its manifest is gone, or it was no part of the build."""
        return self.made[step].shards if step in self.made else []

    def family(self, raw: Receipt) -> dict[str, Receipt] | None:
        """Step → the shard that follows from a raw shard; None for one that is not of this build, or whose stages are
        gone or not made yet."""
        steps = [step for step in (*_OF_A_ROW, "gather", "augment") if self._follows(step)]
        names = [receipt.name for receipt in self.shards("collect")]
        if raw.name not in names or not {*_OF_A_ROW} <= {*steps}:
            return None
        return {step: self.made[step].shards[names.index(raw.name)] for step in steps}

    def _follows(self, step: str) -> bool:
        """Whether a step is there, and was made of those before it: a new crawl leaves the last build's stages beside
        it."""
        before = _OF.get(step, ())
        if step not in self.made or not all(self._follows(one) for one in before):
            return False
        inputs = [digest for one in before for digest in digests(self.made[one])]
        facts = digests(self.made["measure"]) if step == "label" and "measure" in self.made else []  # it may read them
        return self.made[step].inputs in (inputs, inputs + facts)

    def trainings(self) -> dict[str, Manifest]:
        """Model → its training."""
        return {step.split()[1]: manifest for step, manifest in self.made.items() if manifest.stage == "train"}


def builds(store: Store) -> list[Build]:
    """All of a lake: releases that stand, newest first, then the withdrawn, then what was built and not released."""
    find = lru_cache(maxsize=None)(lambda stage, key: manifests.find(store, stage, key))
    names = versions.datasets(store)
    entries = [(name, number, said) for name in names for number, said in versions.published(store, name).items()]
    with ThreadPoolExecutor(_THREADS) as pool:
        released = list(pool.map(lambda one: _released(store, one[0], one[1], one[2], find), entries))
        finished = list(pool.map(lambda name: _finished(store, name, find), _refs(store)))
    released.sort(key=lambda build: (not build.withdrawn, build.created, build.number or 0), reverse=True)
    known = [_keys(build) for build in released]
    return [*released, *(build for build in finished if _keys(build) not in known)]


def crawl_of(store: Store, source: str, raw: Receipt) -> dict[str, Any]:
    """The crawl that wrote a raw shard: {number, round, folder}; the round is None for rows that came at its end, the
    number where the records of the older crawls are gone, of which one did. Empty where no crawl of the source did. A
    crawl's snapshot has the shards of those that it builds on, too."""
    for entry in store.list(f"refs/crawls/{source}/"):
        value, _ = refs.get(store, entry.name.removeprefix("refs/").removesuffix(".json"))
        end: dict[str, Any] = {"base": (value or {}).get("last")}
        folder, lost = "", False
        while end["base"]:
            before = _json(store, f"{end['base']}/crawl.json")
            if not _wrote(before, raw):
                lost = not before
                break
            folder, end = end["base"], before
        if folder:
            names = (f"{folder}/round-{number:05d}/round.json" for number in range(1, end["rounds"] + 1))
            wrote = next((number for number, name in enumerate(names, 1) if _wrote(_json(store, name), raw)), None)
            if lost and wrote is None:
                return {"number": None, "round": None, "folder": ""}
            return {"number": end["number"], "round": wrote, "folder": folder}
    return {}


def _json(store: Store, name: str) -> dict[str, Any]:
    with suppress(Missing, ValueError):
        found: dict[str, Any] = json.loads(store.read(name))
        return found
    return {}


def _wrote(said: dict[str, Any], raw: Receipt) -> bool:
    return any(shard["name"] == raw.name for shard in said.get("shards", ()))


def _released(store: Store, dataset: str, number: int, entry: versions.Entry, find: Callable[..., Any]) -> Build:
    withdrawn = entry.get("withdrawn", {}).get("reason", "")
    said: dict[str, Any] | None = None
    with suppress(Missing):
        said = version(store, dataset, number).manifest
    stages = {step: told["key"] for step, told in said["stages"].items()} if said else {}
    return Build(dataset, _made(stages, find), number, said, withdrawn, entry["created"])


def _finished(store: Store, dataset: str, find: Callable[..., Any]) -> Build:
    value, _ = refs.get(store, f"builds/{dataset}")
    steps = (value or {}).get("steps", {})
    return Build(dataset, _made({step: key for step, key in steps.items() if step != "release"}, find))


def _made(keys: dict[str, str], find: Callable[..., Any]) -> dict[str, Manifest]:
    order = sorted(keys, key=lambda step: (_LIFE.index(step.split()[0]), step))
    found = {step: find(step.split()[0], keys[step]) for step in order}
    return {step: manifest for step, manifest in found.items() if manifest}


def _refs(store: Store) -> Iterator[str]:
    for entry in store.list("refs/builds/"):
        yield entry.name.removeprefix("refs/builds/").removesuffix(".json")


def _keys(build: Build) -> dict[str, str]:
    return {step: manifest.key for step, manifest in build.made.items()}
