"""Outcomes are gathered and committed as segments: every so many megabytes, every so many seconds, and at the end."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from crawlers.job import Job
from crawlers.known import ITEM
from crawlers.rows import Outcome
from dsray.errors import DsrayError

if TYPE_CHECKING:
    from crawlers.spider import MediaSpider

_NO_ANSWER = ("unreachable", "timeout", "address")

_URGENT_S = 0.3
"""How soon a host's wish to be left alone is committed, so that whoever comes after us knows it."""

_MOST_RECORDS = 50_000
"""Records in a segment: found URLs are kept in memory until it is committed."""


@dataclass
class Batch:
    """A segment in the making."""

    outcomes: list[Outcome] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    records: int = 0
    since: float = field(default_factory=time.monotonic)

    def full(self, job: Job) -> bool:
        return (
            self.counts["bytes"] >= job.segment_mb * 1e6
            or time.monotonic() - self.since >= job.segment_s
            or self.records >= _MOST_RECORDS
        )


class SegmentPipeline:
    """Counts outcomes and commits them, in a thread, while the crawl goes on.

    As long as nobody gave an answer, nothing is committed, unless the job insists: a site that is down is asked again
    by the next run.
    """

    def __init__(self, spider: "MediaSpider") -> None:
        self.spider = spider
        self.job = spider.job
        self.ledger = spider.ledger
        self.spent = spider.spent
        self.news = spider.site_news  # since the last segment, as are the frontier's pauses
        self.pauses = spider.frontier.pauses
        self.batch = Batch()
        self.reached = spider.ledger.segments > 0
        self.failure: DsrayError | None = None
        self.one_at_a_time = asyncio.Lock()

    async def take(self, item: Outcome) -> None:
        """One outcome. Waits while a full segment is written."""
        counts = count(item)
        self.batch.outcomes.append(item)
        self.batch.counts.update(counts)
        self.batch.records += 1 + len(item.news)
        self.spent.update(counts)
        self.reached = self.reached or item.known.outcome not in _NO_ANSWER
        if self.reached and (self.batch.full(self.job) or self._urgent()):
            await self.commit(last=self._urgent())

    def _urgent(self) -> bool:
        return bool(self.pauses) and time.monotonic() - self.batch.since > _URGENT_S

    async def close(self) -> None:
        """Writes what is left."""
        if self.reached or self.job.insist:
            await self.commit(last=True)

    async def commit(self, last: bool = False) -> None:
        """Writes the batch; whoever comes meanwhile with a next full one waits, which slows the crawl down."""
        async with self.one_at_a_time:
            if self.failure is not None or not self.batch.outcomes or not (last or self.batch.full(self.job)):
                return
            batch, self.batch = self.batch, Batch()
            sites, pauses = list(self.news), dict(self.pauses)
            self.news.clear()
            self.pauses.clear()
            try:
                await asyncio.to_thread(self.ledger.commit, batch.outcomes, batch.counts, sites, pauses)
            except DsrayError as failure:
                self.failure = failure
                assert self.spider.crawler.engine
                asyncio.ensure_future(self.spider.crawler.engine.close_spider_async(reason="lake"))  # noqa: RUF006


def count(outcome: Outcome) -> Counter[str]:
    """What one outcome adds: a page read, an item with its bytes, one that did not change, or an error."""
    row = outcome.row or {}
    if row.get("error"):
        return Counter({row["error"]: 1})
    if outcome.known.state != "done":
        return Counter()
    if outcome.known.kind != ITEM:
        return Counter(pages=1)
    return Counter(items=1, bytes=len(row["payload"])) if row else Counter(unchanged=1)
