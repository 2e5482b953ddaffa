"""The whole story of a row, both ways: where it came from, what was said and decided of it, and what was made of it."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from dsray.errors import DsrayError
from dsray.lake import lookup, shards
from dsray.lake.lookup import Place
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt
from dsray.lake.store import Store
from dsray.stages import retrain
from dsray.stages.step import digests
from dsray.trace.builds import Build, builds, crawl_of
from dsray.trace.replay import Check, replay
from dsray.trace.trail import Said, Trail, find, parents, release_of, training

_TOLD = 50  # members of a cluster of which all is told
_PATH = re.compile(r"^(?:releases/(?P<dataset>[^/]+)/v(?P<number>\d+)/)?(?P<file>[^/]+/[^/]+\.parquet)$")


@dataclass(frozen=True)
class Real:
    """A row that came from outside, as one build sees it. `raw` is all but its payload; `places` are step → shard and
    row, where it lies; `copies` the augmented rows that it is a parent of."""

    id: str
    raw: Said
    crawl: Said
    opt_outs_obeyed: bool
    facts: Said
    label: Said
    verdict: Said
    cluster: list[Said]
    cluster_rows: int
    copies: list[Said]
    places: dict[str, str]


@dataclass(frozen=True)
class Story:
    """A row. `real` is itself, or its parents; `sample` what an augmented or synthetic row says of itself; `model` what
    made it, `models` those that learned from it; `also` other rows of the same URL;
    `checks` what was made again."""

    id: str
    origin: str  # real, augmented, synthetic
    build: str
    sample: Said
    real: list[Real]
    model: Said | None
    models: list[Said]
    releases: list[Said]
    form: Said
    stages: dict[str, str]
    also: list[Said] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)

    @property
    def differs(self) -> bool:
        """Whether something that was made again is not what it was."""
        return any(check.equal is False for check in self.checks)


@dataclass(frozen=True)
class File:
    """A shard of a release: `sources` are the sample shards that its rows came of, with the raw shard behind each."""

    name: str
    build: str
    split: str
    origin: str
    rows: int
    bytes: int
    digest: str
    labels: dict[str, int]
    sources: list[Said]
    model: Said | None
    stages: dict[str, str]


def trace(store: Store, name: str, inside: str | None = None, again: bool = False) -> Story | File:
    """The story of a row, or of a file of a release; with `again` the row is made once more, and compared. Raises
    DsrayError when there is none, or several are meant."""
    known = builds(store)
    if at := _PATH.match(name.removeprefix(store.url + "/")):
        if again:
            raise DsrayError("A file is not made again by itself.", "Give a row to --replay, or `dsray regenerate`.")
        return _file(store, known, inside, at)
    trail = find(store, name, inside, known)
    story = tell(store, trail)
    return replace(story, checks=replay(store, trail)) if again else story


def tell(store: Store, trail: Trail) -> Story:
    """The story of a row that was found."""
    build, raw, sample = trail.build, trail.raw, trail.sample()
    said: Said = {}
    if sample and raw is None:
        said = lookup.one(store, sample[1].shard, sample[1].row, without=["media", build.column, "tensor"])
        said = _named(said, build if sample[0] == "release" else None)
        said = {key: value for key, value in said.items() if value is not None and key != "id"}
    real = [raw] if raw else parents(store, build, said)
    render = build.made.get("render")
    return Story(
        trail.id,
        "real" if raw else said.get("origin", "real"),
        build.name,
        said,
        [_real(store, build, place) for place in real],
        _model(build, trail.known, said),
        _learned(store, trail) if raw else [],
        _releases(trail),
        render.params["spec"] if render else {},
        {step: manifest.key for step, manifest in build.made.items()},
        list(trail.also),
    )


def _real(store: Store, build: Build, place: Place) -> Real:
    raw = lookup.one(store, place.shard, place.row, without=["payload"])
    family = build.family(place.shard) or {}
    of_row = {
        step: lookup.one(store, family[step], place.row, columns) if step in family else {}
        for step, columns in (("measure", None), ("render", ["error", "size", "frame"]), ("label", None),
                              ("select", None))
    }  # fmt: skip
    verdict = of_row["select"]
    if verdict.get("kept") and of_row["render"]["error"]:
        verdict |= {"kept": False, "rule": "no form", "value": of_row["render"]["error"], "threshold": None}
    members, rows = _cluster(store, build, verdict, of_row["measure"].get("signature"))
    copies = _copies(store, family["augment"], raw["id"]) if "augment" in family and verdict["split"] == "train" else []
    same_rows = {step: f"{receipt.name} row {place.row}" for step, receipt in family.items() if step in of_row}
    return Real(
        raw["id"], _plain(raw), crawl_of(store, raw["source"], place.shard),
        build.made["collect"].params["opted_out"],
        _measured(of_row["measure"]),
        {key: value for key, value in of_row["label"].items() if key != "id"},
        {key: value for key, value in verdict.items() if key not in ("id", "label", "objects")},
        members, rows, copies, {"collect": f"{place.shard.name} row {place.row}", **same_rows},
    )  # fmt: skip


def _measured(facts: Said) -> Said:
    found = {name: value for name, value in facts.items() if name not in ("id", "digest", "features")}
    if found.get("signature") is not None:
        found["signature"] = f"{found['signature']:016x}"  # JSON's numbers have 53 bits
    return found


def _cluster(store: Store, build: Build, verdict: Said, signature: int | None) -> tuple[list[Said], int]:
    """The other members of a row's cluster, the kept one first, with the bits that their signatures are apart; and how
    many there are."""
    if not verdict:
        return [], 0
    select, raws, facts = (build.shards(step) for step in ("select", "collect", "measure"))
    family = {receipt.name: pair for receipt, *pair in zip(select, raws, facts, strict=True)}
    rows_of: dict[str, list[Place]] = {}
    for place in lookup.find(store, select, "cluster", verdict["cluster"]):
        rows_of.setdefault(place.shard.name, []).append(place)
    held = [receipt for receipt in select if receipt.name in rows_of]
    others = []
    for receipt, table in zip(held, shards.each(store, held, ["id", "kept", "rule", "split"], ahead=8), strict=True):
        rows = [place.row for place in rows_of[receipt.name]]
        for said, row in zip(table.take(rows).to_pylist(), rows, strict=True):
            if said["id"] != verdict["id"]:
                others.append((said, family[receipt.name], row))
    others.sort(key=lambda one: (not one[0]["kept"], one[0]["id"]))
    told = []
    for said, (raw, measured), row in others[:_TOLD]:
        url = lookup.one(store, raw, row, ["url"])["url"]
        theirs = lookup.one(store, measured, row, ["signature"])["signature"]
        bits = None if signature is None or theirs is None else (signature ^ theirs).bit_count()
        told.append({**said, "url": url, "bits": bits})
    return told, len(others)


def _copies(store: Store, augmented: Receipt, row_id: str) -> list[Said]:
    """Augmented rows with that parent, then those that it is mixed into. All are in the shard that follows from its
    own."""
    table = shards.read(store, augmented, ["id", "parent", "transform", "mixed"])
    first = pc.fill_null(pc.equal(table["parent"], row_id), False)
    second = pc.fill_null(pc.equal(pc.struct_field(table["mixed"], "parent"), row_id), False)
    found = []
    for role, rows in (("parent", first), ("mixed in", second)):
        for row in table.filter(rows).to_pylist():
            found.append({"id": row["id"], "as": role, "transform": json.loads(row["transform"]),
                          "mixed": row["mixed"]})  # fmt: skip
    return found


def _named(row: Said, build: Build | None) -> Said:
    """The row with its label's name in place of a release's number."""
    classes = build.release["classes"] if build and build.release else None
    mixed = row.get("mixed")
    if classes and row["label"] is not None:
        row = {**row, "label": classes[row["label"]]}
    if classes and mixed and mixed["label"] is not None:
        row = {**row, "mixed": {**mixed, "label": classes[mixed["label"]]}}
    return {**row, "transform": json.loads(row["transform"])} if row.get("transform") else row


def _model(build: Build, known: Sequence[Build], said: Said) -> Said | None:
    """The model behind a synthetic row: its numbers, and what it was trained on. `gather` is there when a build has its
    training set still."""
    digest = said.get("model")
    found = digest and (training([build], digest) or training(known, digest))
    if not found:
        return {"digest": digest} if digest else None
    name, _, manifest = found
    learned = manifest.details.get("learned", {}).get("rows", {})
    gathers = (one.made["gather"] for one in (build, *known) if "gather" in one.made)
    gather = next((one for one in gathers if sorted(digests(one)) == sorted(manifest.inputs)), None)
    return {
        "name": name, "key": manifest.key, "digest": digest, "architecture": manifest.params["architecture"],
        "numbers": manifest.params["config"], "seed": manifest.params["seed"], "training_rows": learned.get("rows"),
        "training_set": learned.get("name"), "gather": gather.key if gather else None,
        "samples": [receipt.name for receipt in gather.shards] if gather else [],
        "warm_from": retrain.parent(manifest.params), "private": manifest.details.get("private"),
    }  # fmt: skip


def _learned(store: Store, trail: Trail) -> list[Said]:
    """The models of all builds that learned from a real row: from itself, or through the model that they began with."""
    models: dict[str, Manifest] = {}
    named: dict[str, Said] = {}
    for build in trail.known:
        for name, manifest in build.trainings().items():
            models[manifest.key] = manifest
            said = {"key": manifest.key, "name": name, "architecture": manifest.params["architecture"],
                    "through": None, "builds": []}  # fmt: skip
            named.setdefault(manifest.key, said)["builds"].append(build.name)
    rows = {
        key: Receipt(**made.details["learned"]["rows"]) for key, made in models.items() if "learned" in made.details
    }
    holding = {place.shard.name for place in lookup.find(store, rows.values(), "id", trail.id)}
    taught = [key for key, receipt in rows.items() if receipt.name in holding]
    for key in taught:  # grows on the way
        heirs = (heir for heir, made in models.items() if retrain.parent(made.params) == key and heir not in taught)
        for heir in list(heirs):
            named[heir]["through"] = key
            taught.append(heir)
    return [named[key] for key in taught]


def _releases(trail: Trail) -> list[Said]:
    """Every release that holds the row, in the order of the datasets' versions."""
    found = []
    for build in sorted(trail.known, key=lambda build: (build.dataset, build.number or 0)):
        if place := trail.within(build.files):
            file = place.shard.name.removeprefix(build.prefix)
            found.append({"release": build.name, "split": file.split("/")[0], "file": file, "row": place.row,
                          "withdrawn": build.withdrawn})  # fmt: skip
    return found


def _plain(raw: Said) -> Said:
    """A raw row as JSON can say it."""
    parsed = {name: json.loads(raw[name]) if raw[name] else None for name in ("headers", "evidence")}
    fetched = raw["fetched_at"]
    when = fetched.isoformat(timespec="seconds") if isinstance(fetched, datetime) else fetched
    return {**raw, **parsed, "fetched_at": when}


def _file(store: Store, known: Sequence[Build], inside: str | None, at: re.Match[str]) -> File:
    """The story of a shard of a release: of which sample shards its rows came, and these of which raw shards."""
    named = f"{at['dataset']}@v{at['number']}" if at["dataset"] else inside
    names = sorted({build.dataset for build in known if build.number})
    if named is None and len(names) != 1:
        raise DsrayError(f"Of which release is {at['file']}?", f"Say --in DATASET; there are: {', '.join(names)}."
                         if names else "There is no release yet.")  # fmt: skip
    build = release_of(store, known, named or names[0])
    receipt = next((one for one in build.files if one.name == build.prefix + at["file"]), None)
    if receipt is None:
        files = [one.name.removeprefix(build.prefix) for one in build.files]
        raise DsrayError(f"{build.name} has no file {at['file']}.", f"It has {', '.join(files[:4])}, ...")
    split, file = at["file"].split("/")
    origin = file.split("-")[0]
    step = {"real": "gather", "augmented": "augment"}.get(origin, f"synthesize {origin}")
    table = shards.read(store, receipt, ["id", "label", "model"])
    classes = build.release["classes"] if build.release else []
    labels = Counter("unlabelled" if one is None else classes[one] for one in table["label"].to_pylist())
    model = table["model"][0].as_py() if table.num_rows else None
    return File(
        receipt.name, build.name, split, origin, receipt.rows, receipt.bytes, receipt.digest,
        dict(sorted(labels.items())), _sources(store, build, step, table["id"]),
        _model(build, known, {"model": model}) if model else None,
        {name: manifest.key for name, manifest in build.made.items()},
    )  # fmt: skip


def _sources(store: Store, build: Build, step: str, ids: pa.ChunkedArray) -> list[Said]:
    """The sample shards that hold some of these rows, and how many."""
    samples, raws = build.shards(step), build.shards("collect")
    found = []
    for number, table in enumerate(shards.each(store, samples, ["id"], ahead=8)):
        if rows := pc.sum(pc.is_in(table["id"], ids.combine_chunks())).as_py():
            raw = raws[number].name if not step.startswith("synthesize") and raws else None
            found.append({"rows": rows, "samples": samples[number].name, "raw": raw})
    return found
