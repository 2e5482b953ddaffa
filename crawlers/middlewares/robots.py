"""robots.txt as RFC 9309 has it: 4xx allows all, 5xx allows nothing, no answer means that the site cannot be asked."""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from scrapy import Request, signals
from scrapy.downloadermiddlewares.robotstxt import RobotsTxtMiddleware
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Response
from scrapy.robotstxt import RobotParser

from crawlers.refused import Reason, Refused, reason_of

if TYPE_CHECKING:
    from typing import Self

    from scrapy.crawler import Crawler

_SLOWEST_S = 60.0
_LONGEST = 512_000
"""Bytes of robots.txt that are read (RFC 9309 asks for 500 KiB)."""


class RobotsMiddleware(RobotsTxtMiddleware):
    """Refuses with evidence what robots.txt forbids, and keeps its Crawl-delay."""

    def __init__(self, crawler: "Crawler") -> None:
        super().__init__(crawler)
        self.slow: set[str] = set()  # download slots with a Crawl-delay
        self.unreadable: dict[str, Reason] = {}  # host and port → why its robots.txt could not be had
        crawler.signals.connect(self.slow_down, signals.robots_parsed)

    @classmethod
    def from_crawler(cls, crawler: "Crawler") -> "Self":
        return cls(crawler)

    async def process_request(self, request: Request) -> None:  # type: ignore[override] # the old spider argument
        try:
            await super().process_request(request)
            if self.slow and self._slot(request) in self.slow:
                request.meta["autothrottle_dont_adjust_delay"] = True
        except Refused:
            raise
        except IgnoreRequest as ignored:
            raise Refused(Reason("robots", "robots.txt", "disallow", _netloc(request) + "/robots.txt")) from ignored

    def process_request_2(self, rp: RobotParser | None, request: Request) -> None:
        why = self.unreadable.get(_netloc(request))
        if why is not None:
            raise Refused(why)
        super().process_request_2(rp, request)

    async def _parse_robots(self, response: Response, netloc: str, request: Request) -> None:
        if response.status >= 500:
            self.unreadable[netloc] = Reason("robots", "robots.txt", f"status {response.status}", response.url)
        body = response.body[:_LONGEST] if response.status < 300 else b""
        await super()._parse_robots(response.replace(body=body), netloc, request)

    def _robots_error(self, exc: Exception, netloc: str) -> None:
        self.unreadable[netloc] = reason_of(exc, Request(f"http://{netloc}/robots.txt"))
        super()._robots_error(exc, netloc)

    def slow_down(self, robotparser: RobotParser, request: Request) -> None:
        """Asks the host no more often than its Crawl-delay, up to a minute."""
        asked = robotparser.crawl_delay(self._robotstxt_useragent or "*")
        if asked:
            assert self.crawler.engine
            downloader, key = self.crawler.engine.downloader, self._slot(request)
            delay = min(float(asked), _SLOWEST_S)
            self.slow.add(key)
            downloader.per_slot_settings[key] = {"delay": delay, "concurrency": 1, "jitter": 0}
            slot = downloader.slots.get(key)
            if slot is not None:
                slot.delay, slot.concurrency, slot.jitter = delay, 1, 0

    def _slot(self, request: Request) -> str:
        assert self.crawler.engine
        return self.crawler.engine.downloader.get_slot_key(request)


def _netloc(request: Request) -> str:
    """Scrapy's own name for a host with its port."""
    return urlsplit(request.url).netloc
