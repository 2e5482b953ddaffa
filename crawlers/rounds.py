"""A crawl: rounds of choose, fetch and update, until nothing is due or a budget is spent.

All state is immutable objects under crawls/<source>/<key>/, so that any process may die: whoever comes next goes on
from the last object. docs/crawling.md shows the layout.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from crawlers import choose, seeds, withdraw
from crawlers.choose import When
from crawlers.known import KNOWN
from crawlers.ledger import read_table
from crawlers.reading import every_host_of, host_hash
from crawlers.sites import SiteFile
from crawlers.update import buckets_for, split, update
from dsray import keys
from dsray.errors import UnreachedError
from dsray.lake import refs, shards
from dsray.lake.shards import Receipt
from dsray.lake.store import Missing, Store

VERSION = 1

End = dict[str, Any]
FetchAll = Callable[[list[dict[str, Any]]], list[End | UnreachedError]]
"""Runs fetch jobs, and returns how each ended; nobody answering is an end too."""

_FRONT = ("start", "sitemaps", "urls", "api", "item", "follow", "scope", "spider", "texts")
"""What makes a crawl the same crawl: with another budget or pace it goes on, with other pages it begins anew."""

_PUBLIC_DELAY_S = 1.0
"""Between two requests to a host, when the recipe does not say: what Scrapy's own template has."""


@dataclass
class Crawl:
    """One crawl of one source. `number` counts recrawls; `revisit` says which known URLs a recrawl asks again."""

    store: Store
    source: str
    params: dict[str, Any]
    fields: list[str]
    opted_out: bool
    number: int = 0
    revisit: str = "all"
    workers: int = 2
    show: Callable[[str], None] = lambda _: None

    @property
    def identity(self) -> str:
        """Names what recrawls have in common."""
        front = {name: self.params.get(name) for name in _FRONT}
        front["media"] = next(iter(self.params["item"]), None)  # which field it is: keys know no order
        return keys.key("front", VERSION, front, [self.source, str(self.opted_out)])[:32]

    @property
    def root(self) -> str:
        key = keys.key("crawl", VERSION, self.params, [self.identity, str(self.number)])[:32]
        return f"crawls/{self.source}/{key}"

    @property
    def ref(self) -> str:
        return f"crawls/{self.source}/{self.identity}"

    def read(self, name: str) -> dict[str, Any] | None:
        """A JSON object of this crawl, or None."""
        return read_json(self.store, f"{self.root}/{name}")

    def write(self, name: str, value: dict[str, Any]) -> dict[str, Any]:
        """Creates a JSON object of this crawl, and returns the one that stands."""
        self.store.create(f"{self.root}/{name}", json.dumps(value).encode())
        return self.read(name) or value


def read_json(store: Store, name: str) -> dict[str, Any] | None:
    """A JSON object of the lake, or None."""
    try:
        found: dict[str, Any] = json.loads(store.read(name))
    except Missing:
        return None
    return found


def run(crawl: Crawl, fetch_all: FetchAll) -> End:
    """The crawl to its end: {shards, counts, rounds, known, ...}. Raises SourceError when nobody answered at all."""
    end = crawl.read("crawl.json")
    if end is None:
        begin = _begin(crawl)
        state = crawl.read(f"{_round(0)}/round.json") or seeds.sow(crawl, begin)
        while (after := _next(crawl, begin, state, fetch_all)) is not None:
            state = after
        end = crawl.read("crawl.json") or withdraw.finish(crawl, begin, state)
    refs.update(crawl.store, crawl.ref, lambda _: {"last": crawl.root})
    return end


def _begin(crawl: Crawl) -> dict[str, Any]:
    """When this crawl began, and on what it builds: the last one of the same front."""
    last, _ = refs.get(crawl.store, crawl.ref)
    base = last["last"] if last and last["last"] != crawl.root else None
    before = read_json(crawl.store, f"{base}/crawl.json") if base else None
    if base and before is None:
        raise Missing(
            f"{crawl.store.url}/{base}/crawl.json is gone, which refs/{crawl.ref}.json names.",
            "Bring it back from a copy of the lake, or delete that ref: then everything is fetched anew.",
        )
    recrawl = before is not None and before["number"] < crawl.number
    return crawl.write(
        "begin.json",
        {"base": base if before else None, "began": time.time(), "revisit": crawl.revisit if recrawl else "none"},
    )


def _next(crawl: Crawl, begin: dict[str, Any], state: dict[str, Any], fetch_all: FetchAll) -> dict[str, Any] | None:
    """The state after one more round; None when the crawl is at its end."""
    number = state["round"] + 1
    done = crawl.read(f"{_round(number)}/round.json")
    if done is not None:
        return done
    began = time.time()
    chosen = crawl.read(f"{_round(number)}/choose.json")
    if chosen is None:
        if _spent(crawl, state):
            return None
        chosen = _choose(crawl, begin, state, number)
        if chosen is None:
            return None
    budget = crawl.params["budget"]
    left_s = budget["minutes"] * 60 - state["seconds"] - (time.time() - began)
    jobs = [_job(crawl, state, chosen, at, left_s) for at in range(len(chosen["partitions"]))]
    ends = _fetched(jobs, fetch_all, first=number == 1 and begin["base"] is None)
    return _update(crawl, state, chosen, ends, time.time() - began)


def _spent(crawl: Crawl, state: dict[str, Any]) -> bool:
    budget = crawl.params["budget"]
    return bool(
        state["seconds"] >= budget["minutes"] * 60
        or state["round"] >= budget["rounds"]
        or state["counts"].get("bytes", 0) >= budget["mb"] * 1e6
        or (state["round"] > 0 and not state["progress"])
    )


def _choose(crawl: Crawl, begin: dict[str, Any], state: dict[str, Any], number: int) -> dict[str, Any] | None:
    """Writes the fetch lists of a round; waits, within the budget, for the next due URL. None: there is none."""
    budget, host = crawl.params["budget"], crawl.params["budget"]["host"]
    tables = list(tables_of(crawl.store, state["known"]))
    given = withdraw.given_of(crawl, tables) if begin["revisit"] != "none" else None
    limit = time.time() + budget["minutes"] * 60 - state["seconds"]
    while True:
        when = When(time.time(), begin["began"], begin["revisit"])
        pauses = {host: until for host, until in state["pauses"].items() if until > when.now}
        flags = [choose.due(one, when, budget["depth"]) for one in tables]
        free = choose.without(tables, flags, pauses)
        if all((flag == now).all() for flag, now in zip(flags, free, strict=True)):
            pauses = {}  # of hosts that nothing waits for
        flags = choose.pages_first(tables, free if given is None else choose.only_given(tables, free, given))
        left = max(0, budget["pages"] - state["counts"].get("pages", 0))
        flags = choose.without(tables, flags, choose.spent(state["hosts"], host["mb"], host["minutes"]))
        pages = {name: pages for name, (pages, _, _) in state["hosts"].items()}
        flags = choose.within(tables, flags, left, pages, host["pages"])
        if any(flag.any() for flag in flags):
            break
        due = min([*pauses.values(), *filter(None, [choose.next_due(tables)])], default=limit)
        if due >= limit:
            return None
        crawl.show(f"waiting {due - time.time():.0f} s for hosts that asked for it")
        time.sleep(max(0.0, min(due - time.time() + 0.01, 5.0)))
    made = choose.partitions(tables, flags, crawl.workers)
    folder = f"{crawl.root}/{_round(number)}"
    sites = sites_of(crawl.store, state) if begin["revisit"] != "all" or number > 1 else []
    listed = []
    for at, partition in enumerate(made):
        fetch_list = partition.list()
        names = {kind: f"{folder}/{at:04d}/{kind}-{when.now:.6f}" for kind in ("list", "seen", "sites")}
        crawl.store.create(names["list"], shards.encode(fetch_list))
        crawl.store.create(names["seen"], choose.keys_of(partition).tobytes())
        hosts = set(fetch_list["host"].to_pylist())
        mine = [file.written() for file in sites if file.origin.partition("://")[2] in hosts]
        crawl.store.create(names["sites"], json.dumps(mine).encode())
        listed.append({**names, "urls": fetch_list.num_rows, "hosts": len(hosts), "spent": _of(state["hosts"], hosts)})
    scope = f"{folder}/hosts-{when.now:.6f}"
    crawl.store.create(scope, _scope(crawl, tables).tobytes())
    return crawl.write(
        f"{_round(number)}/choose.json",
        {"at": when.now, "partitions": listed, "hosts": scope, "pages": left, "chosen": sum(p["urls"] for p in listed)},
    )


def _of(spent: dict[str, Any], hosts: set[str]) -> dict[str, Any]:
    return {name: spent[name] for name in hosts if name in spent}


def _scope(crawl: Crawl, tables: Sequence[pa.Table]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    hosts = {name for name in choose.starts(tables) if name}
    if crawl.params["scope"] == "domain":
        hosts |= {every_host_of(name) for name in hosts}
    return np.sort(np.array([host_hash(name) for name in sorted(hosts)], np.uint64))


def _job(crawl: Crawl, state: dict[str, Any], chosen: dict[str, Any], at: int, left_s: float) -> dict[str, Any]:
    """What a fetch process reads from its standard input."""
    params, partition, count = crawl.params, chosen["partitions"][at], len(chosen["partitions"])
    budget = params["budget"]
    pages = chosen["pages"] // count + (at < chosen["pages"] % count)
    return {
        "lake": crawl.store.url,
        "source": crawl.source,
        "folder": f"{crawl.root}/{_round(state['round'] + 1)}/{at:04d}",
        "list": partition["list"], "seen": partition["seen"], "sites": partition["sites"],
        "hosts": "" if params["scope"] == "any" else chosen["hosts"],
        "spent": partition["spent"],
        "pauses": {host: until for host, until in state["pauses"].items() if until > time.time()},
        "seconds": params["round_minutes"] * 60,  # each from its own start: there may be more partitions than cores
        "ends_at": time.time() + max(0.0, left_s),
        "item": params["item"], "follow": params["follow"], "fields": crawl.fields, "api": params["api"],
        "spider": params["spider"], "discover": "discover" in params["sitemaps"],
        "javascript": params["javascript"], "warc": params["warc"],
        "budget": {
            "pages": pages, "depth": budget["depth"],
            "mb": (budget["mb"] - state["counts"].get("bytes", 0) / 1e6) / count,
            "host_pages": budget["host"]["pages"], "host_mb": budget["host"]["mb"],
            "host_minutes": budget["host"]["minutes"],
        },
        "tries": params["retry"]["times"], "wait_s": params["retry"]["wait_s"],
        **{f"{name}_s": params["revisit"][f"{name}_hours"] * 3600 for name in ("first", "min", "max")},
        **{name: params[name] for name in ("allow_private", "user_agent", "max_mb", "timeout_s", "concurrency")},
        "delay_s": _PUBLIC_DELAY_S * (not params["allow_private"]) if params["delay_s"] is None else params["delay_s"],
        "segment_s": params["commit_s"],
        "respect_opt_out": crawl.opted_out,
    }  # fmt: skip


def _fetched(jobs: list[dict[str, Any]], fetch_all: FetchAll, first: bool) -> list[End]:
    """How all partitions ended. When nobody answers in the first round of all, nothing is kept, and the error told."""
    ends = fetch_all([{**job, "insist": not first} for job in jobs])
    silent = [at for at, end in enumerate(ends) if isinstance(end, UnreachedError)]
    if len(silent) == len(ends):
        raise next(end for end in ends if isinstance(end, UnreachedError))
    if silent:
        for at, end in zip(silent, fetch_all([{**jobs[at], "insist": True} for at in silent]), strict=True):
            ends[at] = end
    return [end for end in ends if not isinstance(end, UnreachedError)]


def _update(crawl: Crawl, state: dict[str, Any], chosen: dict[str, Any], ends: list[End], seconds: float) -> End:
    """Writes what is known after a round."""
    number = state["round"] + 1
    logs = [shards.read(crawl.store, Receipt(**log)) for end in ends for log in end["logs"]]
    count = buckets_for(state["urls"] + sum(log.num_rows for log in logs), len(state["known"]))
    by_bucket = [split(log, count) for log in logs]
    known = []
    for bucket in range(count):
        before = read_table(crawl.store, state["known"][bucket % len(state["known"])]["name"])
        mine = split(before, count)[bucket] if count > len(state["known"]) else before
        after = update(mine, [parts[bucket] for parts in by_bucket])
        known.append(put(crawl, number, bucket, after))
    counts = Counter(state["counts"])
    for end in ends:
        counts.update({name: n for name, n in end["counts"].items() if name != "errors"})
        counts.update({f"error:{name}": n for name, n in end["counts"]["errors"].items()})
    hosts = {name: list(spent) for name, spent in state["hosts"].items()}
    if any(crawl.params["budget"]["host"].values()):
        for end in ends:
            for name, spent in end["hosts"].items():
                hosts[name] = [a + b for a, b in zip(hosts.get(name, (0, 0, 0.0)), spent, strict=True)]
    sites = f"{crawl.root}/{_round(number)}/sites.json"
    files = {(f.origin, f.name): f for f in (*sites_of(crawl.store, state),
             *(SiteFile(**one) for end in ends for one in end["sites"])) if f.fresh}  # fmt: skip
    crawl.store.create(sites, json.dumps([file.written() for file in files.values()]).encode())
    return crawl.write(
        f"{_round(number)}/round.json",
        {
            "round": number, "chosen": chosen["chosen"], "partitions": len(ends), "known": known, "sites": sites,
            "pauses": state["pauses"] | {host: until for end in ends for host, until in end["pauses"].items()},
            "urls": sum(one["rows"] for one in known), "hosts": hosts, "counts": dict(counts),
            "shards": [shard for end in ends for shard in end["shards"]],
            "progress": sum(log.num_rows for log in logs), "seconds": state["seconds"] + seconds,
        },
    )  # fmt: skip


def put(crawl: Crawl, number: int, bucket: int, known: pa.Table) -> dict[str, Any]:
    """Writes one bucket of what is known after a round."""
    data = shards.encode(known)
    name = f"{crawl.root}/{_round(number)}/known-{bucket:04d}-{keys.digest(data)[:16]}.parquet"
    crawl.store.create(name, data)
    return {"name": name, "rows": known.num_rows}


def tables_of(store: Store, known: Sequence[dict[str, Any]]) -> Iterator[pa.Table]:
    """The buckets of what is known."""
    return (read_table(store, one["name"]).combine_chunks() for one in known)


def sites_of(store: Store, state: dict[str, Any]) -> list[SiteFile]:
    """The site files that are still fresh."""
    found = json.loads(store.read(state["sites"])) if state.get("sites") else []
    return [file for file in (SiteFile(**one) for one in found) if file.fresh]


def empty() -> pa.Table:
    """What is known at the very beginning."""
    return KNOWN.empty_table()


def _round(number: int) -> str:
    return f"round-{number:05d}"
