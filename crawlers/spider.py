"""The one Scrapy spider: it asks what the frontier chose, reads pages, and turns every end into an outcome."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from scrapy import Request, Spider, signals
from scrapy.exceptions import StopDownload
from scrapy.http import Headers, Response
from twisted.python.failure import Failure

from crawlers import warc
from crawlers.frontier import ASKED, Frontier
from crawlers.job import Job
from crawlers.known import AGAIN, DONE, HELD, ITEM, PAGE, Known, holds
from crawlers.ledger import Ledger
from crawlers.middlewares.pauses import UNTIL
from crawlers.pipelines.segments import SegmentPipeline
from crawlers.reading import Reader
from crawlers.refused import PASSING_STATUS, Elsewhere, Paused, Reason, passes, reason_of
from crawlers.rows import Outcome, failed, kept
from crawlers.sites import SiteFile
from crawlers.urls import domain
from dsray import keys
from dsray.lake import tombstones

if TYPE_CHECKING:
    from typing import Self

    from scrapy.crawler import Crawler

    from crawlers.sites import Robots

_NOT_A_PAGE = "dsray_not_a_page"
_PAGES = (b"html", b"xml", b"text/plain")

_SILENT = 5
"""Requests in a row that a host may leave unanswered; then its others wait for the next round."""

_PATIENCE_S = 30.0
"""A pause that is longer (Retry-After) is not waited for: the host's URLs go to a later round."""

_HOPS = 5


class MediaSpider(Spider):
    """Every page → its items and its links; every item → one raw row."""

    name = "media"
    robots: "dict[str, Any]"

    def __init__(self, job: Job, ledger: Ledger, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job = job
        self.ledger = ledger
        self.spent = Counter(ledger.counts)
        self.site_files = {(file.origin, file.name): file for file in site_files(job, ledger)}
        self.site_news: list[SiteFile] = []
        self.frontier = Frontier(job, self.spent, self.ask)
        for host, (pages, size) in ledger.hosts.items():
            self.frontier.charge(host, pages, size)
        self.domains = {domain(host) for host in ledger.listed()["host"].unique().to_pylist()}
        self.seen = ledger.seen()
        self.header_checks: list[Callable[[Headers, Request], None]] = [self.headers_received]
        self.reader = Reader(job, ledger.store)
        self.forgotten = tombstones.load(ledger.store)
        for host, until in {**job.pauses, **ledger.pauses}.items():
            self.frontier.pause(host, until)
        self.frontier.pauses.clear()
        for known in ledger.pending():
            self.frontier.push(known)
        self.pipeline = SegmentPipeline(self)

    @classmethod
    def from_crawler(cls, crawler: "Crawler", *args: Any, **kwargs: Any) -> "Self":
        spider = super().from_crawler(crawler, *args, **kwargs)
        crawler.signals.connect(spider.pipeline.close, signals.spider_closed)
        return spider

    async def start(self) -> Any:
        """Nothing: the frontier knows what to ask."""
        return
        yield

    def ask(self, known: Known) -> Request:
        """The request for what the frontier chose; conditional when an answer is there already."""
        headers = {}
        same = known.digest and not (self.job.javascript and known.kind == PAGE)  # what scripts fetch may have changed
        if same and known.etag:
            headers["If-None-Match"] = known.etag
        if same and known.modified:
            headers["If-Modified-Since"] = known.modified
        meta: dict[str, Any] = {ASKED: known, "verbatim_url": True, "download_timeout": self.job.timeout_s}
        return Request(known.at or known.url, self.parse, errback=self.fail, headers=headers, meta=meta)

    def headers_received(self, headers: Headers, request: Request) -> None:
        """Does not download, as a page, what is none."""
        known: Known | None = request.meta.get(ASKED)
        kind = (headers.get("Content-Type") or b"text/html").lower()
        if known and known.kind == PAGE and "Location" not in headers and not any(word in kind for word in _PAGES):
            request.meta[_NOT_A_PAGE] = True
            raise StopDownload(fail=True)

    async def parse(self, response: Response, **kwargs: Any) -> None:
        """What becomes of an answer."""
        for outcome in self.outcomes(response):
            await self.pipeline.take(outcome)

    async def fail(self, failure: Failure) -> None:
        """What becomes of a URL that could not be downloaded."""
        for outcome in self.failures(failure):
            await self.pipeline.take(outcome)

    def outcomes(self, response: Response) -> Iterator[Outcome]:
        known: Known = response.meta[ASKED]
        self.frontier.done(known, len(response.body) if known.kind == ITEM else 0)
        self.frontier.queue(known.host).silent = 0
        if response.status == 304 and known.digest:
            yield Outcome(self.visited(known, changed=False))
        elif not 200 <= response.status < 300:
            yield from self.refused_by_status(known, response)
        elif known.kind == ITEM:
            yield self.media(known, response)
        else:
            yield self.page(known, response)

    def failures(self, failure: Failure) -> Iterator[Outcome]:
        request: Request = failure.request  # type: ignore[attr-defined] # Scrapy sets it
        known: Known = request.meta[ASKED]
        error = cast(Exception, failure.value)
        self.frontier.done(known)
        if request.meta.get(_NOT_A_PAGE):
            yield Outcome(self.visited(known, changed=True, outcome="none", evidence=None))
        elif isinstance(error, Paused):
            yield from self.later(replace(known, state=AGAIN, due=error.until))
        elif isinstance(error, Elsewhere):
            yield self.moved(known, error.url)
        else:
            reason = reason_of(error, request)
            response = getattr(error, "response", None)  # the headers, when they stopped the download
            if passes(reason, error):
                yield from self.again(known, reason, response)
            else:
                yield self.lost(known, reason, response)

    def media(self, known: Known, response: Response) -> Outcome:
        """An item's payload; the same as last time makes no new row."""
        row = kept(self.job.source, known, response)
        if row["digest"] in self.forgotten.digests:
            return self.lost(known, Reason("forgotten", "payload", "was forgotten", known.url), None)
        changed = row["digest"] != known.digest
        now = self.visited(
            known, changed, outcome="kept", evidence=None, digest=row["digest"], row=row["id"], **_validators(response)
        )
        return Outcome(now, row if row["id"] != known.row else None, warc=self.answer(response))

    def page(self, known: Known, response: Response) -> Outcome:
        """A page's items and links. Whatever its bytes are, it gets an outcome."""
        digest = keys.digest(response.body)
        if digest == known.digest:
            return Outcome(self.visited(known, changed=False, **_validators(response)))
        found = self.reader.read(known, response, self.robots_of(response))
        if found.reason is not None:
            return self.lost(known, found.reason, response)
        news = [one for one in (*found.items, *found.links) if self.is_new(one)]
        now = self.visited(
            known, changed=True, digest=digest, names=[one.key for one in found.items], row=None,
            outcome="opted_out" if found.refusal else "read",
            evidence=json.dumps(found.refusal.evidence, sort_keys=True) if found.refusal else None,
            **_validators(response),
        )  # fmt: skip
        return Outcome(now, None, news, self.answer(response))

    def is_new(self, one: Known) -> bool:
        """Is it to be logged? Held items, and items whose texts may have changed, always are, what was forgotten never;
        and it is queued here when it is new and ours."""
        if self.forgotten and holds(self.forgotten, one):
            return False
        if one.state == HELD:
            return True
        new = self.seen.add(one.key)
        if new and domain(one.host) in self.domains:
            self.frontier.push(one)
        return new or one.kind == ITEM

    def refused_by_status(self, known: Known, response: Response) -> Iterator[Outcome]:
        reason = Reason("http_status", "status", str(response.status), response.url)
        if response.status in PASSING_STATUS:
            yield from self.again(known, reason, response)
        else:
            yield self.lost(known, reason, response)

    def again(self, known: Known, reason: Reason, response: Response | None) -> Iterator[Outcome]:
        """A failure that may pass: later, or, after the last try, never. A silent or pausing host takes all with it."""
        until = response.meta.get(UNTIL, 0.0) if response is not None and response.request else 0.0
        yield from self.tried(known, reason, response, until)
        queue = self.frontier.queue(known.host)
        if until > time.time() + _PATIENCE_S or until > self.job.ends_at:
            for other in self.frontier.drain(known.host):
                yield Outcome(replace(other, state=AGAIN, due=until))
        if reason.error != "http_status":
            queue.silent += 1
            if queue.silent >= _SILENT:
                for other in self.frontier.drain(known.host):
                    yield from self.tried(other, reason._replace(signal="host"), None, 0)

    def tried(self, known: Known, reason: Reason, response: Response | None, until: float) -> Iterator[Outcome]:
        tries = known.tries + 1
        if tries >= self.job.tries:
            if known.digest:  # it was there: one bad day withdraws nothing
                yield Outcome(self.visited(known, changed=False))
            else:
                yield self.lost(known, reason, response)
            return
        due = max(self.job.backoff(tries), until)
        again = replace(known, state=AGAIN, tries=tries, due=due)
        if not known.digest:  # else it says still what a page gave, or reserved, when it was read
            again.outcome, again.evidence = reason.error, json.dumps(reason.evidence, sort_keys=True)
        yield from self.later(again)

    def later(self, known: Known) -> Iterator[Outcome]:
        """Soon: by this process. Else, or when this process dies, its record says when, and a later round asks it."""
        due = known.due or 0.0
        if due < min(time.time() + _PATIENCE_S, self.job.ends_at):
            self.frontier.postpone(known, due)
        yield Outcome(known)

    def lost(self, known: Known, reason: Reason, response: Response | None) -> Outcome:
        """A failure that stays: its row, unless the last one says the same."""
        row = failed(self.job.source, known, reason, response)
        now = self.visited(
            known, changed=row["id"] != known.row, outcome=reason.error, evidence=row["evidence"], row=row["id"],
            digest=None, etag=None, modified=None,
        )  # fmt: skip
        return Outcome(now, row if row["id"] != known.row else None)

    def moved(self, known: Known, url: str) -> Outcome:
        """A redirect into another partition's domain: that one asks it, in the next round."""
        hops = int(json.loads(known.evidence).get("hops", 0)) + 1 if known.at and known.evidence else 1
        if hops > _HOPS:
            return self.lost(known, Reason("redirects", "too many", str(hops), known.url), None)
        return Outcome(replace(known, at=url, host="", state=AGAIN, due=0.0, evidence=json.dumps({"hops": hops})))

    def visited(self, known: Known, changed: bool, **news: Any) -> Known:
        """The record after a visit that came to an end: due again sooner when it changed, later when it did not."""
        wait = known.wait_s * (0.5 if changed else 1.5) if known.wait_s else self.job.first_s
        wait = min(max(wait, self.job.min_s), self.job.max_s)
        now = time.time()
        if known.kind == ITEM and known.at:  # the next visit asks where it leads then: signed URLs expire
            news = {"at": None, "host": "", **news}
        return replace(known, **{"state": DONE, "tries": 0, "wait_s": wait, "due": now + wait, "asked": now, **news})

    def robots_of(self, response: Response) -> "Robots | None":
        origin = "/".join(response.url.split("/", 3)[:3])
        future = self.robots.get(origin)
        return future.result() if future is not None and future.done() and not future.exception() else None

    def answer(self, response: Response) -> bytes:
        return warc.response(response) if self.job.warc else b""


def site_files(job: Job, ledger: Ledger) -> Iterable[SiteFile]:
    """The files of sites that are still fresh: from earlier rounds, and from processes before us."""
    told = json.loads(ledger.store.read(job.sites)) if job.sites else []
    return (file for file in (*(SiteFile(**one) for one in told), *ledger.sites) if file.fresh)


def _validators(response: Response) -> dict[str, str | None]:
    """What a conditional request needs."""
    etag, modified = (response.headers.get(name) for name in ("ETag", "Last-Modified"))
    return {
        "etag": etag.decode("latin-1")[:512] if etag else None,
        "modified": modified.decode("latin-1")[:64] if modified else None,
    }
