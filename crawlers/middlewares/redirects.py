"""Redirects: a few, over http and https only, and a page does not lead away from the hosts of its crawl."""

from typing import TYPE_CHECKING

from scrapy import Request
from scrapy.downloadermiddlewares import redirect
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Response

from crawlers.frontier import FOUND
from crawlers.refused import Reason, Refused
from crawlers.rows import PAGE
from crawlers.urls import host, resolve

if TYPE_CHECKING:
    from typing import Self

    from scrapy.crawler import Crawler


class RedirectMiddleware(redirect.RedirectMiddleware):
    """Says why a redirect is not followed. A start page may move to another host, which then belongs to the crawl."""

    hosts: set[str]

    @classmethod
    def from_crawler(cls, crawler: "Crawler") -> "Self":
        middleware = super().from_crawler(crawler)
        middleware.hosts = crawler.spider.hosts  # type: ignore[union-attr]
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
        found = request.meta.get(FOUND)
        if resolve(target.url, "") is None:
            raise Refused(Reason("redirects", "location", target.url[:200], request.url))
        if found and found.kind == PAGE and host(target.url) not in self.hosts:
            if found.depth > 0:
                raise Refused(Reason("redirects", "other host", target.url, request.url))
            self.hosts.add(host(target.url))


def _location(response: Response) -> str:
    return (response.headers["Location"] or b"").decode("latin-1")[:200]
