"""Whether a lake is whole: every digest, manifest, ref and count of what is reachable, each problem by its name."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from dsray import keys
from dsray.errors import DsrayError, LakeError
from dsray.lake import leases, manifests, refs, shards
from dsray.lake.shards import Receipt
from dsray.lake.store import Entry, Head, Missing, Store
from dsray.stages import versions
from dsray.upkeep.reach import SWEPT, Reach, reach

HEAL = "dsray verify --heal"
NO_RECEIPT = "carries no receipt"

_THREADS = 8
_FILES = ("README.md", "report.html", "claim.json")
_NOBODY = datetime.max.replace(tzinfo=UTC)  # nothing is reachable by its age


class Problem(NamedTuple):
    """An object that is not what it should be, and what mends that."""

    name: str
    what: str
    mend: str = HEAL


@dataclass(frozen=True)
class Checked:
    """What was looked at, and what was found."""

    problems: list[Problem] = field(default_factory=list)
    objects: int = 0
    bytes: int = 0


def verify(
    store: Store, dataset: str | None = None, quick: bool = False, show: Callable[[int, int], None] = lambda *_: None
) -> Checked:
    """Reads all that is reachable, or what one dataset reaches, and compares it with what was put and what manifests
    say; `quick` compares sizes and receipts only. While a ref cannot be read, only refs are checked."""
    if dataset and not versions.published(store, dataset):
        raise DsrayError(f"There is no release of '{dataset}' on {store.url}.", "`dsray show` lists what there is.")
    broken = list(_refs(store))
    if broken:
        return Checked(broken, len(broken))
    with leases.held(store, "dsray verify") as lease:
        now = lease.now()
    entries = {entry.name: entry for entry in store.list("")}
    found = reach(store, list(entries.values()), _NOBODY, now, dataset=dataset)
    held = [e for e in entries.values() if e.name.split("/")[0] in SWEPT and found.holds(e.name)]
    told, total = [e for e in held if e.name.endswith(".json")], sum(entry.size for entry in held)
    problems = {name: error.wrong for name, error in found.unread.items()}
    done = 0

    def look(some: Sequence[Entry], receipts: Mapping[str, Receipt], quick: bool) -> None:
        nonlocal done
        checks = pool.map(lambda entry: _check(store, entry, receipts.get(entry.name), quick), some)
        for entry, what in zip(some, checks, strict=True):
            done += entry.size
            show(done, total)
            problems.update({entry.name: what} if what else {})

    with ThreadPoolExecutor(_THREADS) as pool:
        look(told, {}, quick=False)
        for name in problems:  # what it says is not to be believed
            found.manifests.pop(name, None)
            found.releases.pop(name, None)
        look([entry for entry in held if not entry.name.endswith(".json")], _receipts(found), quick)
    for name, who in found.why.items():
        if who not in problems and name not in entries and store.head(name) is None:
            problems.setdefault(name, f"is gone, and {who} names it")
    for name, what in (*_manifests(found), *_released(store, found, entries)):
        problems.setdefault(name, what)
    crawled = _crawled(found)
    listed = [Problem(name, what, _mend(name, what, crawled)) for name, what in sorted(problems.items())]
    return Checked(listed, len(held), total)


def _refs(store: Store) -> Iterator[Problem]:
    """Refs that are none, or point to nothing."""
    for entry in store.list("refs/"):
        if entry.name.startswith(leases.FOLDER):
            continue
        try:
            value, _ = refs.get(store, entry.name.removeprefix("refs/").removesuffix(".json"))
            head = store.head(entry.name)
            if head and head.sha256 and head.sha256 != keys.digest(store.read(entry.name)) and not _moved(store, entry):
                yield Problem(entry.name, "is damaged: its bytes are not those that were put")
            for number, said in (value or {}).get("versions", {}).items():
                int(number), said["key"]
            for tag, number in (value or {}).get("tags", {}).items():
                if str(number) not in (value or {}).get("versions", {}):
                    yield Problem(entry.name, f"has a tag '{tag}' of a version that is not there: v{number}")
        except LakeError:
            yield Problem(entry.name, "is not a ref")
        except (ValueError, KeyError, TypeError, AttributeError):
            yield Problem(entry.name, "is a ref that makes no sense")


def _moved(store: Store, entry: Entry) -> bool:
    """Whether somebody moved the ref while it was looked at."""
    return any(one.name == entry.name and one.etag != entry.etag for one in store.list(entry.name))


def _receipts(found: Reach) -> dict[str, Receipt]:
    """Object → what its manifest says of it."""
    listed = [Receipt(**shard) for one in found.releases.values() for shard in one["shards"]]
    return {one.name: one for one in (*listed, *(shard for m in found.manifests.values() for shard in m.shards))}


def _check(store: Store, entry: Entry, receipt: Receipt | None, quick: bool) -> str:
    """What is wrong with an object; nothing where it is right."""
    try:
        head = store.head(entry.name)
        if head is None:
            return ""  # it was swept meanwhile: what is still named and gone is told of otherwise
        wrong = _unlike(head, receipt) if receipt else ""
        if quick or wrong not in ("", NO_RECEIPT):
            return wrong
        data = store.read(entry.name)
    except Missing:
        return ""
    except LakeError as error:
        return f"cannot be read: {error.wrong}"
    digest = keys.digest(data)
    if (head.sha256 and digest != head.sha256) or (receipt and digest != receipt.digest):
        return "is damaged: its bytes are not those that were put"
    return wrong or (_table(store, data, receipt) if receipt and entry.name.endswith(".parquet") else "")


def _unlike(head: Head, receipt: Receipt) -> str:
    if head.size != receipt.bytes or (head.sha256 and head.sha256 != receipt.digest):
        return "is damaged: it is not what its manifest names"
    if not receipt.name.endswith(".parquet"):
        return ""
    if "rows" not in head.meta:
        return NO_RECEIPT
    return "" if head.meta["rows"] == str(receipt.rows) else "has another number of rows than its manifest says"


def _table(store: Store, data: bytes, receipt: Receipt) -> str:
    """Whether a shard has the rows that its receipt says, and its lender the bytes that it borrows."""
    file = pq.ParquetFile(pa.BufferReader(data))
    if file.metadata.num_rows != receipt.rows:
        return "has another number of rows than its manifest says"
    lender = store.head(receipt.lender) if receipt.lender else None
    if any(lender is None or lender.sha256 != digest for digest in shards.lenders(file.schema_arrow)):
        return f"borrows of {receipt.lender or 'a shard'}, which is gone or is not what it was"
    return ""


def _manifests(found: Reach) -> Iterator[tuple[str, str]]:
    for name, manifest in found.manifests.items():
        if name != manifests_name(manifest.stage, manifest.key):
            yield name, "is the manifest of something else"
        try:
            manifests.conserved(manifest.stage, manifest.counts)
        except DsrayError as error:
            yield name, error.wrong


def manifests_name(stage: str, key: str) -> str:
    """Where a manifest lies."""
    return f"stages/{stage}/{key}.json"


def _released(store: Store, found: Reach, entries: Mapping[str, Entry]) -> Iterator[tuple[str, str]]:
    """Whether a release is what its stage made: the shards, the counts, and the files beside them."""
    for name, said in found.releases.items():
        folder = name.removesuffix("manifest.json")
        for file in _FILES:
            if folder + file not in entries and store.head(folder + file) is None:  # it may be newer than the listing
                yield folder + file, "is gone"
        counts = Counter({(part, origin): rows for part, row in said["rows"].items() for origin, rows in row.items()})
        for shard in said["shards"]:
            part, file = shard["name"].removeprefix(folder).split("/")
            counts[part, file.split("-")[0]] -= shard["rows"]
        if any(counts.values()):
            yield name, "counts other rows than its shards have"
        entry = versions.published(store, said["dataset"]).get(said["version"])
        made = found.manifests.get(manifests_name("release", entry["key"])) if entry else None
        if made and [vars(one) for one in made.shards] != said["shards"]:
            yield name, "names other shards than its stage made"
        claim = folder + "claim.json"
        if entry and claim in entries and _key(store, claim) != entry["key"]:
            yield claim, "is the claim of another release"


def _key(store: Store, claim: str) -> Any:
    try:
        return json.loads(store.read(claim))["key"]
    except (LakeError, ValueError, KeyError, TypeError):
        return None


def _crawled(found: Reach) -> set[str]:
    """The sources that are crawls."""
    collected = [m.params["sources"] for m in found.manifests.values() if m.stage == "collect"]
    return {name for sources in collected for name, source in sources.items() if source.get("crawl")}


def _mend(name: str, what: str, crawled: set[str]) -> str:
    top, source, *_ = [*name.split("/"), ""]
    if what != NO_RECEIPT and (top == "crawls" or (top == "raw" and source in crawled)):
        return f"bring it back from a copy of the lake; or delete refs/crawls/{source}/ and: dsray run RECIPE --recrawl"
    return HEAL
