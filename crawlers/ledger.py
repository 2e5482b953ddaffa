"""The state of a partition: immutable segments on the lake. A URL is done, and its row exists, once a segment says so.

A segment is two create-only puts: the raw shard, then the JSON object that names it. A process killed between them
leaves a shard that nobody counts. So whatever happens, at most one segment of work is lost, and no row is there twice.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from crawlers.job import Job
from crawlers.rows import PAGE, Found, Outcome, table
from dsray.errors import ContestedError
from dsray.lake import shards
from dsray.lake.shards import Receipt
from dsray.lake.store import Missing, Store
from dsray.schema import FETCH_ERRORS


class Ledger:
    """Reads what was committed, and commits more."""

    def __init__(self, store: Store, job: Job) -> None:
        self.store = store
        self.job = job
        self.receipts: list[Receipt] = []
        self.counts: Counter[str] = Counter(pages=0, items=0, bytes=0)
        self.segments = 0
        self.seen: set[tuple[str, str]] = set()  # keys of what need not be found again
        self.pending = self._read()  # what is found and not done, in the order of finding

    def commit(self, outcomes: Sequence[Outcome], counts: Counter[str]) -> None:
        """Writes one segment. Raises ContestedError when another process works on the same partition."""
        rows = [outcome.row for outcome in outcomes if outcome.row is not None]
        receipt = shards.write_raw(self.store, self.job.source, table(rows, list(self.job.texts))) if rows else None
        segment = {
            "shard": asdict(receipt) if receipt else None,
            "counts": dict(counts),
            "done": [[outcome.found.kind, outcome.found.url] for outcome in outcomes],
            "found": [news._asdict() for outcome in outcomes for news in outcome.news],
        }
        name = f"{self.job.folder}/segment-{self.segments:05d}.json"
        if not self.store.create(name, json.dumps(segment).encode()):
            raise ContestedError(
                f"Another process is crawling partition {self.job.partition} of `{self.job.source}`.",
                "Wait until it ends, or end it, and run again.",
            )
        self._count(segment)

    def finish(self, left: int) -> dict[str, Any]:
        """Writes the end of this partition, and returns what stands: {shards, counts, left}."""
        errors = {reason: self.counts[reason] for reason in FETCH_ERRORS if self.counts[reason]}
        counts = {name: self.counts[name] for name in ("pages", "items", "bytes")} | {"errors": errors}
        end = {"shards": [asdict(receipt) for receipt in self.receipts], "counts": counts, "left": left}
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

    def _read(self) -> list[Found]:
        """Reads the segments of earlier processes. Returns what they, and the job, left to do."""
        found = {one.key: one for one in (Found(url, PAGE) for url in self.job.start)}
        done: set[tuple[str, str]] = set()
        for entry in list(self.store.list(f"{self.job.folder}/segment-")):
            segment = json.loads(self.store.read(entry.name))
            self._count(segment)
            done.update((kind, url) for kind, url in segment["done"])
            found |= {one.key: one for one in (Found(**news) for news in segment["found"])}
        self.seen.update(done, found)
        return [one for key, one in found.items() if key not in done]

    def _count(self, segment: dict[str, Any]) -> None:
        self.segments += 1
        self.counts.update(segment["counts"])
        if segment["shard"]:
            self.receipts.append(Receipt(**segment["shard"]))
