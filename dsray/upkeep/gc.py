"""Takes away what nothing on a lake needs any more, beside running builds. docs/operations.md has the argument."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import groupby

from dsray.errors import LakeError
from dsray.lake import leases, tombstones
from dsray.lake.leases import Lease, Said
from dsray.lake.store import Entry, Store
from dsray.upkeep.reach import SWEPT, Reach, reach

_THREADS = 32
_TURN = 1024
"""Objects between two looks at whether the lease still stands."""


@dataclass(frozen=True)
class Swept:
    """What went, or would go: objects and bytes by folder. `kept` is the number of objects that stay."""

    names: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)
    kept: int = 0
    beside: list[str] = field(default_factory=list)  # who wrote to the lake meanwhile


def sweep(
    store: Store, grace_s: float, dry: bool = False, show: Callable[[int, int], None] = lambda done, total: None
) -> Swept:
    """Deletes what is not reachable and older than `grace_s`, by the store's clock; what a running build may use stays.
    With `dry` only says what would go. Raises LakeError on a lake that is not whole, or on which rows are being
    forgotten: it may look unreachable what is only out of sight."""
    with leases.held(store, "dsray gc") as lease:
        now = lease.now() if dry else lease.sweep()
        others = lease.others()  # before the refs: whoever ended since then has moved them
        _quiet(store, others)
        entries = list(store.list(""))
        found = reach(store, entries, now - timedelta(seconds=grace_s), now, others)
        _whole(store, found, entries)
        gone = [entry for entry in entries if entry.name.split("/")[0] in SWEPT and not found.holds(entry.name)]
        swept = Swept(kept=len(entries) - len(gone), beside=[other.what for other in others])
        for entry in gone:
            swept.counts[_kind(entry.name)] += 1
            swept.bytes[_kind(entry.name)] += entry.size
        swept.names.extend(entry.name for entry in gone)
        if not dry:
            _delete(store, [*gone, *_dead(entries, lease)], lease, show)
    return swept


def _quiet(store: Store, others: Sequence[Said]) -> None:
    """Raises LakeError where somebody else deletes, or an order to forget did not come to its end: what
    it needs is named by it alone."""
    if sweeping := [other for other in others if other.sweeping and not other.gone]:
        raise LakeError(f"`{sweeping[0].what}` on {sweeping[0].host} works on this lake.", "Wait until it has ended.")
    tombstones.load(store)


def _whole(store: Store, found: Reach, entries: Sequence[Entry]) -> None:
    """Raises LakeError where a manifest that others name is gone or cannot be read: what it names is not known."""
    there = {entry.name for entry in entries}
    lost = [name for name in found.why if name not in there and name.endswith(".json") and store.head(name) is None]
    for name in [*found.unread, *lost][:1]:
        raise LakeError(
            f"Nothing is swept: {store.url}/{name} is gone or cannot be read, so what it needs is not known.",
            "Run `dsray verify --heal` first.",
        )


def _kind(name: str) -> str:
    """The folder that a person is told of: shards/gather, releases/digits, models."""
    parts = name.split("/")
    return "/".join(parts[:2]) if parts[0] in ("shards", "stages", "releases", "crawls", "raw") else parts[0]


def _dead(entries: Sequence[Entry], lease: Lease) -> list[Entry]:
    names = set(lease.dead())
    return [entry for entry in entries if entry.name in names]


def _rank(name: str) -> int:
    """What names others goes before what it names, so that a sweep that is killed leaves no name without its object;
    and a release's claim last, so that nobody takes the number of a version that has still files."""
    if name.endswith("/claim.json"):
        return 3
    if (name.startswith("releases/") and name.endswith("/manifest.json")) or name.endswith("/crawl.json"):
        return 0
    return 1 if name.endswith(".json") else 2


def _delete(store: Store, gone: Sequence[Entry], lease: Lease, show: Callable[[int, int], None]) -> None:
    ordered = sorted((entry.name for entry in gone), key=lambda name: (_rank(name), name))
    done = 0
    with ThreadPoolExecutor(_THREADS) as pool:
        for _, group in groupby(ordered, _rank):
            names = list(group)
            for at in range(0, len(names), _TURN):
                lease.check()
                done += len(list(pool.map(store.delete, names[at : at + _TURN])))
                show(done, len(ordered))
