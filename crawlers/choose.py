"""What a round asks: the due URLs, within the budgets, in partitions of whole registered domains. Tables in and out."""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from crawlers.job import Spent
from crawlers.known import AGAIN, DONE, HELD, ITEM, NEW
from crawlers.urls import domain

Flags = NDArray[np.bool_]
U64 = NDArray[np.uint64]

MOST_URLS = 50_000
"""In one partition's list: what a fetch process holds in memory at once."""

MOST_HOSTS = 2_000
"""In one partition: robots.txt, queue and connections of each stay in memory."""

MOST_IN_ROUND = 1_000_000
"""URLs of one round; the others wait for the next."""


class When(NamedTuple):
    """What is due at `now`; of what is done, what was asked before `began`: all of it, or what its schedule says."""

    now: float
    began: float
    revisit: str  # none, due, all


@dataclass
class Partition:
    """One fetch process's share."""

    parts: list[pa.Table] = field(default_factory=list)
    seen: list[U64] = field(default_factory=list)
    rows: int = 0

    def list(self) -> pa.Table:
        """Its fetch list, nearest to the start pages first."""
        table = pa.concat_tables(self.parts)
        order = pc.sort_indices(table, sort_keys=[("depth", "ascending"), ("key", "ascending")])
        return table.take(order).slice(0, MOST_URLS)


def due(known: pa.Table, when: When, depth: int) -> Flags:
    """Which records are to be asked, but for budgets."""
    state, kind = known["state"], known["kind"]
    soon = pc.fill_null(pc.less_equal(known["due"], when.now), True)
    chosen = pc.or_(pc.equal(state, NEW), pc.and_(pc.equal(state, AGAIN), soon))
    if when.revisit != "none":
        again = pc.and_(pc.equal(state, DONE), pc.fill_null(pc.less(known["asked"], when.began), True))
        if when.revisit == "due":
            again = pc.and_(again, pc.fill_null(pc.less_equal(known["due"], when.began), True))
        chosen = pc.or_(chosen, again)
    near = pc.or_(pc.equal(kind, ITEM), pc.less_equal(known["depth"], depth))
    flags: Flags = pc.and_(chosen, near).combine_chunks().to_numpy(zero_copy_only=False)
    return flags


def spent(hosts: Mapping[str, Spent], mb: float | None, minutes: float | None) -> list[str]:
    """The hosts whose budget of bytes or time is used up."""
    return [host for host, (_, size, seconds) in hosts.items()
            if size > (mb or float("inf")) * 1e6 or seconds > (minutes or float("inf")) * 60]  # fmt: skip


def without(tables: Sequence[pa.Table], flags: Sequence[Flags], hosts: Iterable[str]) -> list[Flags]:
    """Without what some hosts would be asked for."""
    names = pa.array(list(hosts), pa.string())
    if not len(names):
        return list(flags)
    return [flag & ~pc.is_in(table["host"], names).combine_chunks().to_numpy(zero_copy_only=False)
            for table, flag in zip(tables, flags, strict=True)]  # fmt: skip


def next_due(tables: Iterable[pa.Table]) -> float | None:
    """When the first URL that waits for another try is due."""
    moments = [pc.min(table.filter(pc.equal(table["state"], AGAIN))["due"]).as_py() for table in tables]
    return min((moment for moment in moments if moment is not None), default=None)


def pages_first(tables: Sequence[pa.Table], flags: Sequence[Flags]) -> list[Flags]:
    """Known pages are asked again before known items: a page may say that its items are no longer to be had."""
    revisits = [flag & _is(table["state"], DONE) for table, flag in zip(tables, flags, strict=True)]
    items = [_is(table["kind"], ITEM) for table in tables]
    if not any((revisit & ~item).any() for revisit, item in zip(revisits, items, strict=True)):
        return list(flags)
    return [flag & ~(revisit & item) for flag, revisit, item in zip(flags, revisits, items, strict=True)]


def only_given(tables: Sequence[pa.Table], flags: Sequence[Flags], given: U64) -> list[Flags]:
    """Known items are asked again only when something still gives them."""
    return [flag & ~(_is(table["kind"], ITEM) & _is(table["state"], DONE) & ~_found(table, given))
            for table, flag in zip(tables, flags, strict=True)]  # fmt: skip


def _found(table: pa.Table, given: U64) -> Flags:
    return np.isin(table["key"].to_numpy(), given)


def within(tables: Sequence[pa.Table], flags: Sequence[Flags], pages: int, spent: Mapping[str, int],
           host_pages: int | None) -> list[Flags]:  # fmt: skip
    """No more pages than the budgets have left, the nearest to the start first."""
    page_flags = [flag & ~_is(table["kind"], ITEM) for table, flag in zip(tables, flags, strict=True)]
    if host_pages is not None:
        full = pa.array([host for host, asked in spent.items() if asked >= host_pages], pa.string())
        for table, flag, page_flag in zip(tables, flags, page_flags, strict=True):
            over = page_flag & pc.is_in(table["host"], full).to_numpy(zero_copy_only=False)
            flag &= ~over
            page_flag &= ~over
    if sum(int(flag.sum()) for flag in page_flags) <= pages:
        return list(flags)
    marked = [_order(table, flag) for table, flag in zip(tables, page_flags, strict=True)]
    last = np.sort(np.concatenate(marked))[:pages]
    limit = last[-1] if len(last) else None
    for table, flag, page_flag, mark in zip(tables, flags, page_flags, marked, strict=True):
        keep = np.zeros(len(flag), bool)
        if limit is not None:
            keep[np.flatnonzero(page_flag)[mark <= limit]] = True
        flag &= keep | _is(table["kind"], ITEM)
    return list(flags)


def partitions(tables: Sequence[pa.Table], flags: Sequence[Flags], workers: int) -> list[Partition]:
    """Due URLs by registered domain, evenly, with the keys of all that is known of those domains."""
    coded = [_hosts(table) for table in tables]
    load: dict[str, int] = {}
    hosts: dict[str, set[str]] = {}
    for (names, index_N), flag in zip(coded, flags, strict=True):
        counts = np.bincount(index_N[flag], minlength=len(names))
        for at in np.flatnonzero(counts).tolist():
            owner = domain(names[at])
            load[owner] = load.get(owner, 0) + int(counts[at])
            hosts.setdefault(owner, set()).add(names[at])
    owners = _assign(load, {owner: len(names) for owner, names in hosts.items()}, workers)
    made = [Partition() for _ in range(max(owners.values(), default=-1) + 1)]
    total = 0
    for table, (names, index_N), flag in zip(tables, coded, flags, strict=True):
        owner_N = np.array([owners.get(domain(name), -1) for name in names] or [-1])[index_N]
        key_N, not_held_N = table["key"].to_numpy(), ~_is(table["state"], HELD)
        for at, partition in enumerate(made):
            mine_N = owner_N == at
            partition.seen.append(key_N[mine_N & not_held_N])
            chosen_N = np.flatnonzero(mine_N & flag)[: max(0, MOST_URLS - partition.rows)]
            chosen_N = chosen_N[: max(0, MOST_IN_ROUND - total)]
            if len(chosen_N):
                partition.parts.append(table.take(pa.array(chosen_N)))
                partition.rows += len(chosen_N)
                total += len(chosen_N)
    return [partition for partition in made if partition.rows]


def _assign(load: Mapping[str, int], hosts: Mapping[str, int], workers: int) -> dict[str, int]:
    """Domain → partition: the heaviest first, each to the lightest partition (LPT)."""
    rows = sum(min(urls, MOST_URLS) for urls in load.values())
    count = max(workers, -(-min(rows, MOST_IN_ROUND) // MOST_URLS), -(-sum(hosts.values()) // MOST_HOSTS))
    heap = [(0, at) for at in range(min(count, len(load)))]
    owners = {}
    for owner in sorted(load, key=lambda name: (-load[name], name)):
        weight, at = heapq.heappop(heap)
        owners[owner] = at
        heapq.heappush(heap, (weight + min(load[owner], MOST_URLS), at))
    return owners


def _hosts(table: pa.Table) -> tuple[list[str], NDArray[np.int64]]:
    coded = table["host"].combine_chunks().dictionary_encode()
    return coded.dictionary.to_pylist(), coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def _order(table: pa.Table, flag: Flags) -> U64:
    """One number to sort by: the depth, then the key."""
    at = np.flatnonzero(flag)
    depth_N = table["depth"].to_numpy()[at].astype(np.uint64)
    marks: U64 = (depth_N << np.uint64(52)) | (table["key"].to_numpy()[at] >> np.uint64(12))
    return marks


def _is(column: pa.ChunkedArray, value: str) -> Flags:
    flags: Flags = pc.equal(column, value).combine_chunks().to_numpy(zero_copy_only=False)
    return flags


def keys_of(partition: Partition) -> U64:
    """The sorted keys that its process need not find again."""
    return np.sort(np.concatenate(partition.seen))


def starts(tables: Iterable[pa.Table]) -> Iterator[str]:
    """Hosts of the start pages, where they were first and where they moved to."""
    from crawlers.urls import host_or_none

    for table in tables:
        first = table.filter(pc.and_(pc.equal(table["depth"], 0), pc.not_equal(table["kind"], ITEM)))
        yield from first["host"].to_pylist()
        yield from (host_or_none(url) for url in first["url"].to_pylist())
