"""What on a lake is reachable: from the versions that stand, the last builds, the crawls and whoever writes now.

Whatever stays names what must stay with it: a manifest that is too young to go keeps its shards, however old.
docs/operations.md says what lies where and when it may go.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from dsray.errors import LakeError
from dsray.lake import manifests, refs, tombstones
from dsray.lake.leases import Said
from dsray.lake.manifests import Manifest
from dsray.lake.store import Entry, Missing, Store
from dsray.stages import versions
from dsray.stages.retrain import parent

SWEPT = ("crawls", "evaluations", "models", "probe", "raw", "releases", "shards", "stages")
"""What dsray makes and may take away; all else on a lake is left alone."""

_GROUPS = {"crawls": 3, "releases": 3, "models": 2, "evaluations": 2}
"""Folders whose objects mean something only together: as long as one of them is too young to go, all stay."""

_STATE = re.compile(r"models/[^/]+/checkpoints/[^/]+\.(safetensors|json)")
_PROBE = timedelta(hours=1)
_CRAWL = timedelta(days=30)
"""How long a crawl is waited for that was begun and not ended: it can go on, and to fetch again is costly."""


class Wanted(NamedTuple):
    """A manifest that somebody names. One that must be there and is not is a hole in the lake."""

    stage: str
    key: str
    must: bool
    who: str


@dataclass(frozen=True)
class Reach:
    """What stays. `why` says of every named object who names it; `unread` are manifests that cannot be read."""

    why: dict[str, str] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    trained: set[str] = field(default_factory=set)  # folders of models that need their checkpoints no more
    manifests: dict[str, Manifest] = field(default_factory=dict)
    releases: dict[str, dict[str, Any]] = field(default_factory=dict)
    unread: dict[str, LakeError] = field(default_factory=dict)

    def holds(self, name: str) -> bool:
        """Whether the object stays."""
        if name in self.why:
            return True
        parts = name.split("/")[:-1]
        if _STATE.fullmatch(name) and "/".join(parts[:2]) + "/" in self.trained:
            return False
        return "" in self.folders or any(
            "/".join(parts[:depth]) + "/" in self.folders for depth in range(1, 1 + len(parts))
        )


def reach(
    store: Store,
    entries: Sequence[Entry],
    since: datetime,
    now: datetime,
    leases: Iterable[Said] = (),
    dataset: str | None = None,
) -> Reach:
    """All that is reachable. `entries` are the lake's; what was made after `since` stays. Leases must have been read
    before this is called: what their holders publish while this runs is then found by the one or the other. With
    `dataset`, only what that one reaches."""
    found = Reach()
    todo = set(_builds(store, dataset))
    for lease in leases:
        found.folders.update(lease.folders)
        todo |= {Wanted(_stage(step), key, False, lease.what) for step, key in lease.steps.items()}
    groups: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        top, *rest = entry.name.split("/")
        if top in _GROUPS:
            groups["/".join([top, *rest[: _GROUPS[top] - 1]]) + "/"].append(entry)
        elif entry.modified > since or (top == "probe" and entry.modified > now - _PROBE):
            found.why[entry.name] = "its age"
            if top == "stages" and len(rest) == 2:
                todo.add(Wanted(rest[0], rest[1].removesuffix(".json"), False, "its age"))
    young = {folder for folder, members in groups.items() if max(entry.modified for entry in members) > since}
    found.folders.update(young)
    todo |= set(_releases(store, [dataset] if dataset else versions.datasets(store), groups, found))
    if not dataset:
        _crawls(store, groups, now, found)
        _orders(store, found)
    _manifests(store, todo, found)
    _ancestors(store, found)
    found.trained.difference_update(young)
    for folder in found.trained & groups.keys():
        last = max((entry.name for entry in groups[folder] if _STATE.fullmatch(entry.name)), default="")
        state = last.rpartition(".")[0] + "."  # from which another training may begin
        found.why.update({e.name: folder for e in groups[folder] if last and e.name.startswith(state)})
    return found


def _stage(step: str) -> str:
    """`train gan` is made by the stage train."""
    return step.split()[0]


def _builds(store: Store, dataset: str | None) -> Iterator[Wanted]:
    """The manifests of the last build of every dataset, or of one."""
    for name, value in _refs(store, "builds"):
        for step, key in value.get("steps", {}).items() if dataset in (None, name.removeprefix("builds/")) else ():
            yield Wanted(_stage(step), key, True, f"refs/{name}.json")


def _refs(store: Store, folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for entry in store.list(f"refs/{folder}/"):
        name = entry.name.removeprefix("refs/").removesuffix(".json")
        value, _ = refs.get(store, name)
        yield name, value or {}


def _releases(store: Store, datasets: Sequence[str], groups: dict[str, list[Entry]], found: Reach) -> Iterator[Wanted]:
    """Keeps the versions that stand, and those that stay for another reason; the manifests that they name."""
    standing = {}
    for dataset in datasets:
        entries = versions.published(store, dataset)
        for number in versions.standing(entries):
            standing[f"releases/{dataset}/v{number}/"] = f"refs/releases/{dataset}.json"
            yield Wanted("release", entries[number]["key"], False, f"refs/releases/{dataset}.json")
    found.folders.update(standing)
    for folder in sorted({*standing, *(one for one in groups if one.startswith("releases/") and found.holds(one))}):
        name = f"{folder}manifest.json"
        if folder in standing:
            found.why[name] = standing[folder]
        if value := _json(store, name, found):
            found.releases[name] = value
            found.why.update({shard["name"]: name for shard in value["shards"]})
            for step, said in value["stages"].items():
                yield Wanted(_stage(step), said["key"], folder in standing, name)


def _crawls(store: Store, groups: dict[str, list[Entry]], now: datetime, found: Reach) -> None:
    """Of an ended crawl what the next one and `status` read; of one under way all, and what its base is needed for. Of
    those that they build on, which wrote a part of their rows, what tells how that went."""
    last = {f"{value['last']}/": f"refs/{name}.json" for name, value in _refs(store, "crawls") if "last" in value}
    members = {folder: group for folder, group in groups.items() if folder.startswith("crawls/")}
    begun = {folder: _json(store, f"{folder}begin.json", found) or {} for folder in {*members, *last}}
    bases = {f"{one['base']}/" for one in begun.values() if one.get("base")}
    ended = {f: _json(store, f"{f}crawl.json", found) for f in begun}
    for folder, group in members.items():
        loose = folder not in last and (ended[folder] is None or folder not in bases)
        if loose and max(entry.modified for entry in group) > now - _CRAWL:
            found.folders.add(folder)
    whole = {folder for folder in members if found.holds(folder)}
    for folder in whole:
        if base := begun[folder].get("base"):
            last.setdefault(f"{base}/", folder)
        _under_way(store, members[folder], found)
    for folder in {*last, *whole}:
        end = ended.get(folder) or _json(store, f"{folder}crawl.json", found)
        if folder in last:
            found.why[f"{folder}crawl.json"] = last[folder]
        found.why.update({entry.name: folder for entry in members.get(folder, ()) if _told(entry.name)})
        for name in _named(end or {}):
            found.why[name] = f"{folder}crawl.json"
        while (older := f"{begun.get(folder, {}).get('base')}/") in members:
            told = {entry.name for entry in members[older] if _told(entry.name) or entry.name == f"{older}crawl.json"}
            found.why.update(dict.fromkeys(told - found.why.keys(), f"{folder}begin.json"))
            folder = older


def _under_way(store: Store, members: Sequence[Entry], found: Reach) -> None:
    """Keeps the raw shards of a crawl that has not ended: its rounds name them, and of the last round its segments."""
    rounds = {entry.name.rpartition("/")[0] + "/" for entry in members if entry.name.endswith("/round.json")}
    for entry in members:
        if entry.name.endswith("/round.json"):
            ended = _json(store, entry.name, found) or {}
            found.why.update({shard["name"]: entry.name for shard in ended.get("shards", ())})
        elif re.search(r"/segment-\d+\.json$", entry.name) and not entry.name.startswith(tuple(rounds)):
            shard = (_json(store, entry.name, found) or {}).get("shard")
            found.why.update({shard["name"]: entry.name} if shard else {})


def _orders(store: Store, found: Reach) -> None:
    """Keeps the raw shards without their forgotten rows, which manifests name only when the order is carried out."""
    for order in tombstones.begun(store):
        news = (one["to"] for one in order.removes.get("raw", {}).values())
        found.why.update({new["name"]: tombstones.name_of(order.number) for new in news if new})


def _told(name: str) -> bool:
    """What a crawl keeps when it has ended: how its rounds went, and the answers that the recipe wanted."""
    return name.endswith(("/begin.json", "/round.json", ".warc.gz"))


def _named(end: dict[str, Any]) -> Iterator[str]:
    yield from (shard["name"] for shard in end.get("shards", ()))
    yield from (bucket["name"] for bucket in end.get("known", ()))
    if end.get("sites"):
        yield end["sites"]


def _json(store: Store, name: str, found: Reach) -> dict[str, Any] | None:
    try:
        value: dict[str, Any] = json.loads(store.read(name))
        if not isinstance(value, dict):
            raise ValueError(name)
    except Missing:
        return None
    except ValueError:
        found.unread[name] = LakeError(f"{store.url}/{name} cannot be read.", "`dsray verify` says what mends it.")
        return None
    return value


def _manifests(store: Store, todo: set[Wanted], found: Reach) -> None:
    """Reads the manifests, and keeps what they name."""

    def read(one: Wanted) -> Manifest | LakeError | None:
        try:
            return manifests.find(store, one.stage, one.key)
        except LakeError as error:
            return error

    wanted = sorted(todo)
    with ThreadPoolExecutor(32) as pool:
        for (stage, key, must, who), manifest in zip(wanted, pool.map(read, wanted), strict=True):
            name = f"stages/{stage}/{key}.json"
            if must or manifest is not None:
                found.why[name] = who
            if isinstance(manifest, LakeError):
                found.unread[name] = manifest
            elif manifest is not None:
                found.manifests[name] = manifest
                _keep(name, manifest, found)


def _keep(name: str, manifest: Manifest, found: Reach) -> None:
    for shard in manifest.shards:
        found.why[shard.name] = name
        if shard.lender:
            found.why[shard.lender] = name
    found.why.update(dict.fromkeys(manifest.details.get("votes", ()), name))
    if manifest.stage == "train":
        found.folders.add(f"models/{manifest.key}/")
        found.trained.add(f"models/{manifest.key}/")
        if end := manifest.details.get("end"):  # another training may begin with it
            found.why[end] = name
    if manifest.stage == "evaluate":
        found.folders.add(f"evaluations/{manifest.key}/")
    if manifest.stage == "release":
        found.folders.add(manifest.details["prefix"])


def _ancestors(store: Store, found: Reach) -> None:
    """Keeps, of each model from whose networks a kept one was trained on, what tells what it learned from: who forgets
    a row of the one must find the other."""
    todo = [manifest for manifest in found.manifests.values() if manifest.stage == "train"]
    while todo:
        model = todo.pop()
        key = parent(model.params)
        name = f"stages/train/{key}.json"
        if key is None or name in found.why:
            continue
        try:
            before = manifests.find(store, "train", key)
        except LakeError as error:
            found.unread[name] = error
            continue
        if before:
            found.why[name] = f"stages/train/{model.key}.json"
            if said := before.details.get("learned"):
                found.why[said["rows"]["name"]] = name
            todo.append(before)
