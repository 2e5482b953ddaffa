"""What is fetched next, and when it is enough: the crawl's Scrapy scheduler."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from scrapy import Request
from scrapy.core.scheduler import BaseScheduler

from crawlers.job import Budget
from crawlers.rows import ITEM, PAGE, Found

if TYPE_CHECKING:
    from typing import Self

    from scrapy.crawler import Crawler

FOUND = "dsray_found"
"""Request.meta key: what a request asks for."""


class Frontier(BaseScheduler):
    """Every URL once, nothing beyond the budget; items before pages, each in the order of finding, so that few wait."""

    def __init__(self, budget: Budget, spent: Counter[str], ask: Callable[[Found], Request]) -> None:
        self.budget = budget
        self.ask = ask
        self.spent = spent  # pages, items and bytes so far, counted by the pipeline
        self.ends_at = time.monotonic() + budget.minutes * 60
        self.pages_asked = spent["pages"]
        self.again: deque[Request] = deque()
        self.waiting: dict[str, deque[Found]] = {ITEM: deque(), PAGE: deque()}
        self.seen: set[tuple[str, str]] = set()

    @classmethod
    def from_crawler(cls, crawler: "Crawler") -> "Self":
        return crawler.spider.frontier  # type: ignore[union-attr,no-any-return] # GallerySpider

    def resume(self, seen: set[tuple[str, str]], pending: Iterable[Found]) -> None:
        """Goes on from what an earlier process left. Takes `seen` over."""
        self.seen = seen
        for found in pending:
            self.waiting[found.kind].append(found)

    def see(self, found: Iterable[Found]) -> list[Found]:
        """Those that nobody saw before and that are not too deep; from now on they are seen."""
        news = []
        for one in found:
            if one.key not in self.seen and one.depth <= self.budget.depth:
                self.seen.add(one.key)
                news.append(one)
        return news

    def add(self, found: Iterable[Found]) -> list[Found]:
        """Queues those that `see` lets pass, and returns them."""
        news = self.see(found)
        for one in news:
            self.waiting[one.kind].append(one)
        return news

    def enqueue_request(self, request: Request) -> bool:
        """Scrapy hands back what it has to ask again: retries and redirects."""
        self.again.append(request)
        return True

    def has_pending_requests(self) -> bool:
        return bool(self.again) or self._next_kind() is not None

    def next_request(self) -> Request | None:
        if self.again:
            return self.again.popleft()
        kind = self._next_kind()
        if kind is None:
            return None
        self.pages_asked += kind == PAGE
        return self.ask(self.waiting[kind].popleft())

    def __len__(self) -> int:
        return sum(len(queue) for queue in self.waiting.values()) + len(self.again)

    def _next_kind(self) -> str | None:
        if time.monotonic() > self.ends_at or self.spent["bytes"] > self.budget.mb * 1e6:
            return None
        if self.waiting[ITEM]:
            return ITEM
        return PAGE if self.waiting[PAGE] and self.pages_asked < self.budget.pages else None
