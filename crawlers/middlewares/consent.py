"""Opt-out headers are read before the body: what its owner does not give is never downloaded."""

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from scrapy import Request
from scrapy.exceptions import NotConfigured, StopDownload
from scrapy.http import Headers

from crawlers.middlewares.sites import SITE_FILE
from crawlers.refused import REASON, Reason

if TYPE_CHECKING:
    from typing import Self

    from scrapy.crawler import Crawler

NO_AI = frozenset({"noai", "noimageai"})
NO_INDEX = frozenset({"noindex", "none"})
NO_IMAGE = frozenset({"noimageindex"})

_AGENT = re.compile(r"^\s*([a-z0-9_.*-]+)\s*:\s*(.*)$", re.IGNORECASE | re.DOTALL)
_VALUED = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})


def opt_out(headers: Headers, agent: str) -> tuple[str, str] | None:
    """(header, value) of the first opt-out that speaks to every robot or to `agent`, or None.

    `X-Robots-Tag: noai | noimageai | noindex | none`, also as `name: ...`, and `TDM-Reservation: 1` (TDMRep, W3C 2024).
    """
    for value in headers.getlist("X-Robots-Tag"):
        text = value.decode("latin-1")
        if any(directive in NO_AI | NO_INDEX for directive in directives(text, agent)):
            return "x-robots-tag", text[:200]
    for value in headers.getlist("TDM-Reservation"):
        if value.strip() == b"1":
            return "tdm-reservation", "1"
    return None


def refusal(said: Iterable[tuple[str, str]], where: str) -> Reason | None:
    """Why nothing may be taken from a page, if its head says so: (name of the meta tag, directive) pairs."""
    for name, directive in said:
        if name == "tdm-reservation":
            if directive == "1":
                return Reason("opted_out", "meta tdm-reservation", "1", where)
        elif directive in NO_AI | NO_INDEX | NO_IMAGE:
            return Reason("opted_out", f"meta {name}", directive, where)
    return None


def directives(text: str, agent: str) -> Iterator[str]:
    """The directives of an X-Robots-Tag that are for us. A name and a colon hold until the next name."""
    ours = True
    for part in text.lower().split(","):
        named = _AGENT.match(part)
        if named and named[1] not in _VALUED:
            ours, part = named[1] in ("*", agent), named[2]
        if ours:
            yield part.strip()


class ConsentMiddleware:
    """Stops a download at its headers when they say no."""

    def __init__(self, agent: str) -> None:
        self.agent = agent

    @classmethod
    def from_crawler(cls, crawler: "Crawler") -> "Self":
        if not crawler.settings.getbool("RESPECT_OPT_OUT"):
            raise NotConfigured
        middleware = cls(crawler.spider.job.product)  # type: ignore[union-attr] # ours
        crawler.spider.header_checks.append(middleware.headers_received)  # type: ignore[union-attr] # ours
        return middleware

    def headers_received(self, headers: Headers, request: Request) -> None:
        if b"Location" in headers or SITE_FILE in request.meta:
            return  # a redirect's target speaks for itself; robots.txt is no content
        refused = opt_out(headers, self.agent)
        if refused:
            request.meta[REASON] = Reason("opted_out", *refused, request.url)
            raise StopDownload(fail=True)
