"""A page's answer → the records it names: items, held where nothing may be taken, and links in the crawl's scope."""

import json
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scrapy.http import Response, TextResponse
from w3lib.html import get_base_url

from crawlers.job import Job
from crawlers.known import HELD, ITEM, PAGE, Known
from crawlers.middlewares.consent import refusal
from crawlers.refused import Reason
from crawlers.rows import LICENCE
from crawlers.spiders import api, gallery, own, sitemap
from crawlers.spiders.read import API, SITEMAP, Link, Read
from crawlers.urls import domain, host, may_be_page, resolve, spelt
from dsray.lake.store import Store

if TYPE_CHECKING:
    from crawlers.sites import Robots


class Found(NamedTuple):
    """What a page gave; `refusal`: nothing may be taken from it; `reason`: it could not be read."""

    items: list[Known]
    links: list[Known]
    refusal: Reason | None = None
    reason: Reason | None = None


class Reader:
    """Reads pages of every kind for one partition."""

    def __init__(self, job: Job, store: Store) -> None:
        self.job = job
        self.hosts = np.frombuffer(store.read(job.hosts), np.uint64) if job.hosts else None
        self.moved: set[str] = set()  # hosts that start pages moved to

    def read(self, known: Known, response: Response, robots: "Robots | None") -> Found:
        """Whatever the answer's bytes are, they give something or a reason."""
        if not response.body.strip():
            return Found([], [])
        try:
            page, base = self.parsed(known, response)
        except Exception as error:  # lxml, codecs and own spiders raise what they like on damaged pages
            what = "spider" if self.job.spider else known.kind
            return Found([], [], reason=Reason("invalid", what, f"{type(error).__name__}: {error}"[:200], response.url))
        refused = refusal(page.directives, response.url) if self.job.respect_opt_out else None
        items = list(self.items(page, base, known, refused))
        links = [] if says_nofollow(page.directives) else list(page.links)
        if self.job.discover and known.depth == 0 and robots is not None and known.kind == PAGE:
            links += [Link(url, SITEMAP) for url in robots.sitemaps]
        return Found(items, list(self.links(links, base, known)), refused)

    def parsed(self, known: Known, response: Response) -> tuple[Read, str]:
        """What its reader makes of a page, and the URL that relative ones hang on."""
        if known.kind == SITEMAP:
            return sitemap.read(response, self.job), response.url
        if known.kind == API:
            return api.read(response, self.job), response.url
        if not isinstance(response, TextResponse):
            return Read([], [], []), response.url
        read = own.read if self.job.spider else gallery.read
        return read(response, self.job), get_base_url(response.text, response.url, response.encoding)

    def items(self, page: Read, base: str, known: Known, refused: Reason | None) -> Iterator[Known]:
        seen = set()
        for written, texts in page.items:
            told = {**dict.fromkeys(self.job.fields), **texts}
            if page.licence:
                told[LICENCE] = page.licence
            url = resolve(base, written)
            item = Known(url or spelt(written), ITEM, known.url, known.depth, json.dumps(told, sort_keys=True))
            reason = refused or (None if url else Reason("invalid", "url", "not a URL that can be asked", known.url))
            if reason is not None:
                item.state, item.outcome = HELD, reason.error
                item.evidence = json.dumps(reason.evidence, sort_keys=True)
            if item.key not in seen:
                seen.add(item.key)
                yield item

    def links(self, links: Iterable[Link], base: str, known: Known) -> Iterator[Known]:
        for written, kind in links:
            url = resolve(base, written)
            if not url or (kind == PAGE and not may_be_page(url)):
                continue
            depth = known.depth + (kind == PAGE)
            if self.in_scope(host(url)) and depth <= self.job.budget.depth:
                yield Known(url, kind, known.url, depth)

    def in_scope(self, name: str) -> bool:
        """May links lead to this host?"""
        if self.hosts is None or name in self.moved:
            return True
        return self.holds(host_hash(name)) or self.holds(host_hash(every_host_of(name)))

    def holds(self, mark: int) -> bool:
        """Is a hash in the scope?"""
        assert self.hosts is not None
        at = int(np.searchsorted(self.hosts, np.uint64(mark)))
        return at < len(self.hosts) and int(self.hosts[at]) == mark


def host_hash(name: str) -> int:
    """64 bits that stand for a host."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")


def every_host_of(name: str) -> str:
    """What stands in a scope for all hosts of a host's registered domain."""
    return f"*.{domain(name)}"


def says_nofollow(directives: Iterable[tuple[str, str]]) -> bool:
    return any(directive in ("nofollow", "none") for _, directive in directives)
