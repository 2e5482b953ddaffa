"""The state of a partition: immutable segments on the lake. A URL is done, and its row exists, once a segment says so.

A segment is the raw shard, the log of records (outcomes and finds), and last the JSON object that names both,
create-only. A process killed before that leaves objects that nobody counts. So whatever happens, at most one segment
of work is lost, and no row is there twice.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa

from crawlers import warc
from crawlers.job import Job
from crawlers.known import AGAIN, DONE, NEW, Known, records, table
from crawlers.rows import Outcome
from crawlers.rows import table as raw_table
from crawlers.seen import Seen
from crawlers.sites import SiteFile
from crawlers.urls import domain
from dsray import keys
from dsray.errors import ContestedError
from dsray.lake import shards
from dsray.lake.shards import Receipt
from dsray.lake.store import Missing, Store
from dsray.schema import FETCH_ERRORS

NOTHING: Mapping[str, float] = MappingProxyType({})


class Ledger:
    """Reads what was committed, and commits more."""

    def __init__(self, store: Store, job: Job) -> None:
        self.store = store
        self.job = job
        self.receipts: list[Receipt] = []
        self.logs: list[Receipt] = []
        self.counts: Counter[str] = Counter(pages=0, items=0, bytes=0, unchanged=0)
        self.hosts: dict[str, list[int]] = {}  # host → pages and bytes, in this round
        self.sites: list[SiteFile] = []  # that earlier processes asked for
        self.pauses: dict[str, float] = {}  # host → until when
        self.segments = 0
        for entry in list(store.list(f"{job.folder}/segment-")):
            self._count(json.loads(store.read(entry.name)))

    def seen(self) -> Seen:
        """The keys that need not be found again: of earlier rounds, of the list, of the logs."""
        known = [np.frombuffer(self.store.read(self.job.seen), np.uint64)] if self.job.seen else []
        tables = [shards.read(self.store, receipt, ["key", "state"]) for receipt in self.logs]
        lists = [self.listed().select(["key", "state"]), *tables]
        found = [one["key"].to_numpy() for one in (_not_held(each) for each in lists)]
        return Seen(np.unique(np.concatenate([*known, *found])))

    def listed(self) -> pa.Table:
        """The fetch list."""
        return read_table(self.store, self.job.list)

    def pending(self) -> Iterator[Known]:
        """What is to be asked, in order: the list, then what earlier processes found, without what they did."""
        logs = [shards.read(self.store, receipt) for receipt in self.logs]
        listed = list(records(self.listed()))
        mine = {domain(one.host) for one in listed}
        done = {key for log in logs for key, state in _states(log) if state in (DONE, AGAIN)}
        found = (one for log in logs for one in records(log) if one.state == NEW and domain(one.host) in mine)
        for one in [*listed, *found]:
            if one.key not in done:
                done.add(one.key)
                yield one

    def commit(
        self,
        outcomes: Sequence[Outcome],
        counts: Counter[str],
        sites: Sequence[SiteFile] = (),
        pauses: Mapping[str, float] = NOTHING,
    ) -> None:
        """Writes one segment. Raises ContestedError when another process works on the same partition."""
        rows = [outcome.row for outcome in outcomes if outcome.row is not None]
        receipt = shards.write_raw(self.store, self.job.source, raw_table(rows, self.job.fields)) if rows else None
        log = table([one for outcome in outcomes for one in (outcome.known, *outcome.news)])
        data = keys.digest(shards.encode(log))
        written = shards.write(self.store, f"{self.job.folder}/log-{data}.parquet", log)
        answers = b"".join(outcome.warc for outcome in outcomes)
        if answers:
            name = f"{self.job.folder}/answers-{self.segments:05d}.warc.gz"
            self.store.create(name, warc.header(self.job.agent) + answers)
        segment = {
            "shard": asdict(receipt) if receipt else None,
            "log": asdict(written),
            "counts": dict(counts),
            "hosts": hosts_of(outcomes),
            "sites": [file.written() for file in sites],
            "pauses": dict(pauses),
        }
        name = f"{self.job.folder}/segment-{self.segments:05d}.json"
        if not self.store.create(name, json.dumps(segment).encode()):
            raise ContestedError(
                f"Another process is crawling partition {self.job.folder} of `{self.job.source}`.",
                "Wait until it ends, or end it, and run again.",
            )
        self._count(segment)

    def finish(self, left: int, seconds: Mapping[str, float] = NOTHING) -> dict[str, Any]:
        """Writes the end of this partition, and returns what stands. `seconds`: how long each host was asked."""
        errors = {reason: self.counts[reason] for reason in FETCH_ERRORS if self.counts[reason]}
        counts = {name: self.counts[name] for name in ("pages", "items", "unchanged", "bytes")} | {"errors": errors}
        end = {
            "shards": [asdict(receipt) for receipt in self.receipts],
            "logs": [asdict(receipt) for receipt in self.logs],
            "counts": counts,
            "hosts": {host: [*spent, seconds.get(host, 0.0)] for host, spent in self.hosts.items()},
            "sites": [file.written() for file in self.sites],
            "pauses": self.pauses,
            "left": left,
        }
        self.store.create(self._end, json.dumps(end).encode())
        return self.end() or end

    def end(self) -> dict[str, Any] | None:
        """What an earlier process wrote at its end, or None."""
        try:
            end: dict[str, Any] = json.loads(self.store.read(self._end))
        except Missing:
            return None
        return end

    @property
    def _end(self) -> str:
        return f"{self.job.folder}/done.json"

    def _count(self, segment: dict[str, Any]) -> None:
        self.segments += 1
        self.counts.update(segment["counts"])
        self.sites += [SiteFile(**file) for file in segment["sites"]]
        self.pauses |= segment["pauses"]
        self.logs.append(Receipt(**segment["log"]))
        for host, (pages, size) in segment["hosts"].items():
            spent = self.hosts.setdefault(host, [0, 0])
            spent[0] += pages
            spent[1] += size
        if segment["shard"]:
            self.receipts.append(Receipt(**segment["shard"]))


def hosts_of(outcomes: Sequence[Outcome]) -> dict[str, list[int]]:
    """Host → pages asked and payload bytes."""
    spent: dict[str, list[int]] = {}
    for outcome in outcomes:
        pages = int(outcome.known.kind != "item")
        size = len((outcome.row or {}).get("payload") or b"")
        if pages or size:
            one = spent.setdefault(outcome.known.host, [0, 0])
            one[0] += pages
            one[1] += size
    return spent


def read_table(store: Store, name: str) -> pa.Table:
    """A table of records that choose or update wrote."""
    import pyarrow.parquet as pq

    return pq.read_table(pa.BufferReader(store.read(name)))


def _not_held(found: pa.Table) -> pa.Table:
    import pyarrow.compute as pc

    return found.filter(pc.not_equal(found["state"], "held"))


def _states(log: pa.Table) -> Iterator[tuple[int, str]]:
    return zip(log["key"].to_pylist(), log["state"].to_pylist(), strict=True)
