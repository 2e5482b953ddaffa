"""What is fetched next, and when it is enough: the crawl's Scrapy scheduler.

Every host has its own queue and its own share of the requests in flight, so one that is slow, paused or silent delays
itself only. Items go before pages, so that few wait.
"""

import heapq
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scrapy import Request
from scrapy.core.scheduler import BaseScheduler

from crawlers.job import Job
from crawlers.known import ITEM, Known

if TYPE_CHECKING:
    from typing import Self

    from scrapy.crawler import Crawler

ASKED = "dsray_known"
"""Request.meta key: the record that a request asks for."""

MOST_WAITING = 100_000
"""URLs in memory; more are only logged, and asked in a later round."""


@dataclass(slots=True)
class Queue:
    """One host's."""

    items: deque[Known] = field(default_factory=deque)
    pages: deque[Known] = field(default_factory=deque)
    active: int = 0
    most: int = 8  # requests at once
    pages_asked: int = 0
    bytes: int = 0
    seconds: float = 0.0  # of earlier rounds
    since: float | None = None  # its first request in this one
    silent: int = 0  # requests without an answer, one after the other
    paused_until: float = 0.0
    ready: bool = False  # stands in the frontier's `ready`

    def elapsed(self) -> float:
        """Seconds since its first request in this round."""
        return time.monotonic() - self.since if self.since is not None else 0.0

    def __len__(self) -> int:
        return len(self.items) + len(self.pages)


class Frontier(BaseScheduler):
    """Hands out requests within the budget. Who found a URL asks `Seen` first."""

    def __init__(self, job: Job, spent: Counter[str], ask: Callable[[Known], Request]) -> None:
        self.job = job
        self.spent = spent  # pages, items and bytes so far, counted by the pipeline
        self.ask = ask
        self.pages_asked = spent["pages"]
        self.again: deque[Request] = deque()
        self.queues: dict[str, Queue] = {}
        self.ready: deque[str] = deque()
        self.paused: list[tuple[float, str]] = []
        self.pauses: dict[str, float] = {}  # that no segment tells yet
        self.later: list[tuple[float, int, Known]] = []  # to be asked once more; the number settles ties
        self.waiting = 0

    @classmethod
    def from_crawler(cls, crawler: "Crawler") -> "Self":
        return crawler.spider.frontier  # type: ignore[union-attr,no-any-return] # our spider

    def queue(self, host: str) -> Queue:
        """The queue of a host."""
        found = self.queues.get(host)
        if found is None:
            pages, size, seconds = self.job.spent.get(host, (0, 0, 0.0))
            found = Queue(most=self.job.concurrency, pages_asked=pages, bytes=size, seconds=seconds)
            self.queues[host] = found
        return found

    def charge(self, host: str, pages: int, size: int) -> None:
        """Counts what processes before us asked of a host in this round."""
        queue = self.queue(host)
        queue.pages_asked += pages
        queue.bytes += size

    def push(self, known: Known) -> bool:
        """Queues a URL. False: too deep, or too many wait already."""
        if known.depth > self.job.budget.depth or self.waiting >= MOST_WAITING:
            return False
        queue = self.queue(known.host)
        (queue.items if known.kind == ITEM else queue.pages).append(known)
        self.waiting += 1
        self._offer(known.host, queue)
        return True

    def done(self, known: Known, size: int = 0) -> None:
        """A request has its outcome."""
        queue = self.queue(known.host)
        queue.active = max(0, queue.active - 1)
        queue.bytes += size
        self._offer(known.host, queue)

    def pause(self, host: str, until: float) -> None:
        """Nothing is asked of a host until then, in seconds since 1970."""
        queue = self.queue(host)
        if until > queue.paused_until:
            queue.paused_until = self.pauses[host] = until
            heapq.heappush(self.paused, (until, host))

    def postpone(self, known: Known, due: float) -> None:
        """Queues a URL again, at `due` seconds since 1970."""
        heapq.heappush(self.later, (due, known.key, known))

    def drain(self, host: str) -> Iterator[Known]:
        """All that waits for a host, which then waits no more."""
        queue = self.queue(host)
        for waiting in (queue.items, queue.pages):
            while waiting:
                self.waiting -= 1
                yield waiting.popleft()

    def enqueue_request(self, request: Request) -> bool:
        """Scrapy hands back what it has to ask again: redirects."""
        self.again.append(request)
        return True

    def has_pending_requests(self) -> bool:
        self._wake()
        if self.again:
            return True
        if self._over():
            return False
        if self.later and self.later[0][0] < self.job.ends_at:
            return True
        paused = (self.queues[host] for until, host in self.paused if until < self.job.ends_at)
        return any(self._next(queue) for queue in (*(self.queues[host] for host in self.ready), *paused))

    def next_request(self) -> Request | None:
        if self.again:
            return self.again.popleft()
        if self._over():
            return None
        self._wake()
        while self.ready:
            host = self.ready.popleft()
            queue = self.queues[host]
            queue.ready = False
            waiting = self._next(queue)
            if waiting is None or queue.paused_until > time.time():
                continue
            known = waiting.popleft()
            if known.kind != ITEM:
                queue.pages_asked += 1
                self.pages_asked += 1
            self.waiting -= 1
            queue.active += 1
            queue.since = queue.since or time.monotonic()
            self._offer(host, queue)
            return self.ask(known)
        return None

    def __len__(self) -> int:
        return self.waiting + len(self.again) + len(self.later)

    def _offer(self, host: str, queue: Queue) -> None:
        if not queue.ready and len(queue) and queue.active < queue.most:
            queue.ready = True
            self.ready.append(host)

    def _wake(self) -> None:
        """Hosts whose pause is over come back, and URLs whose next try is due."""
        while self.later and self.later[0][0] <= time.time():
            known = heapq.heappop(self.later)[2]
            queue = self.queue(known.host)
            queue.items.append(known) if known.kind == ITEM else queue.pages.append(known)
            self.waiting += 1
            self._offer(known.host, queue)
        while self.paused and self.paused[0][0] <= time.time():
            _, host = heapq.heappop(self.paused)
            self._offer(host, self.queues[host])

    def _over(self) -> bool:
        return time.time() > self.job.ends_at or self.spent["bytes"] > self.job.budget.mb * 1e6

    def _next(self, queue: Queue) -> deque[Known] | None:
        """The queue's items or pages, whatever may be asked next."""
        budget = self.job.budget
        if budget.host_mb is not None and queue.bytes > budget.host_mb * 1e6:
            return None
        if budget.host_minutes is not None and queue.seconds + queue.elapsed() > budget.host_minutes * 60:
            return None
        if queue.items:
            return queue.items
        spent = self.pages_asked >= budget.pages or (
            budget.host_pages is not None and queue.pages_asked >= budget.host_pages
        )
        return queue.pages if queue.pages and not spent else None
