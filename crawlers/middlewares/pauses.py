"""429 and 503 with Retry-After: the host is left alone from the moment that the answer is here."""

import time
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from scrapy import Request
from scrapy.http import Response

from crawlers.middlewares.sites import SITE_FILE
from crawlers.urls import host

if TYPE_CHECKING:
    from typing import Self

    from scrapy.crawler import Crawler

UNTIL = "dsray_until"
"""Request.meta key: until when the host wants to be left alone, in seconds since 1970."""

_LONGEST_S = 86400.0


class PausesMiddleware:
    """Tells the frontier, and holds back what waits in Scrapy's own queue for the host."""

    def __init__(self, crawler: "Crawler") -> None:
        self.crawler = crawler
        self.frontier = crawler.spider.frontier  # type: ignore[union-attr] # ours

    @classmethod
    def from_crawler(cls, crawler: "Crawler") -> "Self":
        return cls(crawler)

    def process_response(self, request: Request, response: Response) -> Response:
        if response.status not in (429, 503) or SITE_FILE in request.meta:
            return response
        until = retry_after(response, time.time())
        if until:
            request.meta[UNTIL] = until
            self.frontier.pause(host(request.url), until)
            assert self.crawler.engine
            downloader = self.crawler.engine.downloader
            slot = downloader.slots.get(downloader.get_slot_key(request))
            if slot is not None:
                slot.lastseen = time.monotonic() + until - time.time()
        return response


def retry_after(response: Response, now: float) -> float:
    """When to ask again, in seconds since 1970: a number of seconds or a date (RFC 9110, 10.2.3). 0: not said."""
    said = (response.headers.get("Retry-After") or b"").decode("latin-1").strip()
    try:
        if said.isdecimal():
            return now + min(int(said), _LONGEST_S)
        date = parsedate_to_datetime(said)
        return min(date.replace(tzinfo=date.tzinfo or UTC).timestamp(), now + _LONGEST_S)
    except (ValueError, TypeError, OverflowError):
        return 0.0
