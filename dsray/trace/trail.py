"""Finding a row: by an id, the beginning of one, a URL, or a file; and the build whose story is told of it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from dsray import dataset
from dsray.errors import DsrayError, LakeError
from dsray.lake import lookup
from dsray.lake.lookup import Place
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt
from dsray.lake.store import Store
from dsray.trace.builds import Build, builds

Said = dict[str, Any]

_LEAST, _WHOLE, _BUCKET = 8, 32, 16  # digits: of a prefix, of an id, and those that say a release's bucket
_FILE = re.compile(r"-(\d+)-of-(\d+)\.parquet$")


@dataclass(frozen=True)
class Trail:
    """A row that was found: in which build its story is told, and every place that holds it."""

    id: str
    build: Build
    known: list[Build]
    places: list[Place]
    also: Sequence[Said] = ()

    def within(self, receipts: Sequence[Receipt]) -> Place | None:
        """Where it lies among these shards."""
        names = {receipt.name for receipt in receipts}
        return next((place for place in self.places if place.shard.name in names), None)

    @property
    def raw(self) -> Place | None:
        return self.within(self.build.shards("collect"))

    def sample(self) -> tuple[str, Place] | None:
        """The step that made an augmented or synthetic row, or its release, and where it lies there."""
        steps = [step for step in self.build.made if step.split()[0] in ("augment", "synthesize")]
        for step, receipts in (("release", self.build.files), *((step, self.build.shards(step)) for step in steps)):
            if place := self.within(receipts):
                return step, place
        return None


def find(store: Store, name: str, inside: str | None = None, known: list[Build] | None = None) -> Trail:
    """The row of an id, of at least 8 digits of one, of a URL, or of a file `id.png`. `inside` names the release whose
    build is to tell of it; else it is the newest that has it. Raises DsrayError."""
    known = builds(store) if known is None else known
    if not known:
        raise LakeError(f"Nothing was built on {store.url} yet.", "Build with `dsray run recipe.yaml`.")
    asked = [release_of(store, known, inside)] if inside else known
    wanted = _digits(name)
    if not wanted:
        return _by_url(store, name, asked, known)
    places = lookup.find(store, _holders(known, wanted), "id", wanted, prefix=len(wanted) < _WHOLE)
    ids = sorted({place.value for place in places})
    if not ids:
        raise DsrayError(f"No row on {store.url} has an id that begins with {wanted}.", "Ids are in the column `id`.")
    if len(ids) > 1:
        raise DsrayError(f"{len(ids)} rows have an id that begins with {wanted}.",
                         f"Give more of it: {', '.join(ids[:4])}{', ...' if len(ids) > 4 else '.'}")  # fmt: skip
    return _trail(store, ids[0], asked, known, places, inside)


def release_of(store: Store, known: Sequence[Build], name: str) -> Build:
    version = dataset.find(store, name)
    return next(build for build in known if (build.dataset, build.number) == (version.dataset, version.number))


def parents(store: Store, build: Build, said: Said) -> list[Place]:
    """The raw rows that an augmented row was made of: the first parent, then that which was mixed in."""
    ids = [said["parent"], (said.get("mixed") or {}).get("parent")] if said.get("parent") else []
    found = [lookup.find(store, build.shards("collect"), "id", one) for one in ids if one]
    return [kept_first(store, build, places)[0] for places in found if places]


def kept_first(store: Store, build: Build, places: list[Place]) -> list[Place]:
    """Raw rows that are kept before the others: an item that became again what it was has several of one id."""

    def dropped(place: Place) -> bool:
        family = build.family(place.shard)
        return family is not None and not lookup.one(store, family["select"], place.row, ["kept"])["kept"]

    return sorted(places, key=dropped) if len(places) > 1 else places


def training(known: Sequence[Build], model: str) -> tuple[str, Build, Manifest] | None:
    """The name, a build and the manifest of the training whose weights have that digest."""
    found = ((name, build, made) for build in known for name, made in build.trainings().items())
    return next((one for one in found if one[2].shards[0].digest == model), None)


def _digits(name: str) -> str:
    """The id, or the beginning of one, that a name holds; nothing for a URL. Raises DsrayError for too few digits."""
    if "://" in name:
        return ""
    stem = name.rsplit("/", 1)[-1]
    digits = (stem[:-4] if stem.lower().endswith(".png") else stem).lower()
    if not re.fullmatch(rf"[0-9a-f]{{1,{_WHOLE}}}", digits):
        raise DsrayError(f"'{name}' is no row, URL or file of a release.", "Give an id (32 hex digits, or at least the "
                         "first 8), a URL, id.png, or a path as train/real-00000-of-00001.parquet.")  # fmt: skip
    if len(digits) < _LEAST:
        raise DsrayError(f"'{name}' is too short to name a row.", f"Give at least {_LEAST} digits of its id.")
    return digits


def _holders(known: Sequence[Build], wanted: str) -> list[Receipt]:
    """The shards that may hold a row. A release's buckets go by the first half of the id."""
    found = []
    for build in known:
        steps = [step for step in build.made if step.split()[0] in ("collect", "augment", "synthesize")]
        found += [receipt for step in steps for receipt in build.shards(step)]
        for receipt in build.files:
            at = _FILE.search(receipt.name)
            if len(wanted) < _BUCKET or not at or int(wanted[:_BUCKET], 16) % int(at[2]) == int(at[1]):
                found.append(receipt)
    return found


def _by_url(store: Store, url: str, asked: Sequence[Build], known: list[Build]) -> Trail:
    """The row of a URL: of several that one which is kept, else the one that was fetched last."""
    raws = [receipt for build in asked for receipt in build.shards("collect")]
    places = lookup.find(store, raws, "url", url) or lookup.find(store, raws, "final_url", url)
    if not places:
        raise DsrayError(f"No row on {store.url} came from {url}.", "It must be spelled as in the column `url`.")
    also = []
    for place in places:
        row = lookup.one(store, place.shard, place.row, ["id", "fetched_at", "error"])
        family = _trail(store, row["id"], asked, known, [place], None).build.family(place.shard)
        verdict = lookup.one(store, family["select"], place.row, ["kept", "rule"]) if family else {}
        also.append({**row, **verdict})
    best = max(also, key=lambda one: (bool(one.get("kept")), str(one["fetched_at"])))["id"]
    everywhere = lookup.find(store, _holders(known, best), "id", best)
    trail = _trail(store, best, asked, known, everywhere, None)
    return replace(trail, also=[one for one in also if one["id"] != best])


def _trail(
    store: Store, row_id: str, asked: Sequence[Build], known: list[Build], places: list[Place], inside: str | None
) -> Trail:
    trails = [Trail(row_id, build, known, places) for build in asked]
    released = (trail for trail in trails if trail.within(trail.build.files))
    there = (trail for trail in trails if trail.raw or trail.sample())
    found = next(released, None) or next(there, None)
    if found is None:
        raise DsrayError(f"{inside} was not built from row {row_id}.", "Leave --in out to look through all builds.")
    return replace(found, places=kept_first(store, found.build, places))
