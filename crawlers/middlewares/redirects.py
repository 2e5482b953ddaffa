"""Redirects: a few, over http and https only, and a page does not lead away from the crawl's scope."""

from typing import TYPE_CHECKING

from scrapy import Request
from scrapy.downloadermiddlewares import redirect
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Response

from crawlers.frontier import ASKED
from crawlers.known import ITEM
from crawlers.reading import Reader
from crawlers.refused import Elsewhere, Reason, Refused
from crawlers.urls import domain, host, resolve
from dsray.lake.tombstones import Tombstones

if TYPE_CHECKING:
    from typing import Self

    from scrapy.crawler import Crawler


class RedirectMiddleware(redirect.RedirectMiddleware):
    """Says why a redirect is not followed. A start page may move to another host, which then belongs to the crawl."""

    reader: Reader
    domains: set[str]
    forgotten: Tombstones

    @classmethod
    def from_crawler(cls, crawler: "Crawler") -> "Self":
        middleware = super().from_crawler(crawler)
        middleware.reader = crawler.spider.reader  # type: ignore[union-attr] # ours
        middleware.domains = crawler.spider.domains  # type: ignore[union-attr]
        middleware.forgotten = crawler.spider.forgotten  # type: ignore[union-attr]
        return middleware

    def handle_referer(self, request: Request, response: Response) -> None:
        """We send no Referer."""

    def process_response(self, request: Request, response: Response) -> Request | Response:  # type: ignore[override] # the old spider argument
        try:
            result = super().process_response(request, response)
        except IgnoreRequest as ignored:
            times = str(request.meta.get("redirect_times", 0))
            raise Refused(Reason("redirects", "too many", times, request.url)) from ignored
        if isinstance(result, Request):
            self._check(result, request)
        elif "Location" in response.headers and 300 <= response.status < 400:
            raise Refused(Reason("redirects", "location", _location(response), request.url))
        return result

    def _check(self, target: Request, request: Request) -> None:
        known = request.meta.get(ASKED)
        if resolve(target.url, "") is None:
            raise Refused(Reason("redirects", "location", target.url[:200], request.url))
        if known is None:
            return  # a site file may lie anywhere (RFC 9309, 2.3.1.2)
        if self.forgotten.holds_url(target.url):
            raise Refused(Reason("forgotten", "redirect", "was forgotten", request.url))
        name = host(target.url)
        if known.kind != ITEM and not self.reader.in_scope(name):
            if known.depth > 0:
                raise Refused(Reason("redirects", "other host", target.url, request.url))
            self.reader.moved.add(name)
        if domain(name) not in self.domains:
            raise Elsewhere(target.url)


def _location(response: Response) -> str:
    return (response.headers["Location"] or b"").decode("latin-1")[:200]
