"""Before a host is asked for anything: its robots.txt; before it is asked for media: tdmrep.json and ai.txt too."""

import asyncio
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from scrapy import Request, signals
from scrapy.http.request import NO_CALLBACK

from crawlers.frontier import ASKED
from crawlers.known import ITEM
from crawlers.refused import Paused, Reason, Refused, reason_of
from crawlers.sites import AI, LONGEST, ROBOTS, TDMREP, OptOuts, Robots, SiteFile
from crawlers.urls import host

if TYPE_CHECKING:
    from typing import Self

    from scrapy.crawler import Crawler

SITE_FILE = "dsray_site_file"
"""Request.meta key: not content, but what a site says of itself."""

_TRANSIENT = ("timeout", "unreachable")


class SitesMiddleware:
    """Refuses with evidence what a site's files forbid, and keeps its Crawl-delay."""

    def __init__(self, crawler: "Crawler") -> None:
        self.crawler = crawler
        spider = crawler.spider
        self.job = spider.job  # type: ignore[union-attr] # ours
        self.frontier = spider.frontier  # type: ignore[union-attr]
        self.files: dict[tuple[str, str], SiteFile] = spider.site_files  # type: ignore[union-attr]
        self.news: list[SiteFile] = spider.site_news  # type: ignore[union-attr]
        self.robots: dict[str, asyncio.Future[Robots]] = {}
        self.opt_outs: dict[str, asyncio.Future[OptOuts]] = {}
        spider.robots = self.robots  # type: ignore[union-attr]

    @classmethod
    def from_crawler(cls, crawler: "Crawler") -> "Self":
        sites = cls(crawler)
        crawler.signals.connect(sites.answered, signals.response_downloaded)
        return sites

    async def process_request(self, request: Request) -> None:
        if SITE_FILE in request.meta:
            return
        parts = urlsplit(request.url)
        origin = f"{parts.scheme}://{parts.netloc}"
        known = self.robots.get(origin)
        if known is not None and known.done() and self._stale(known):
            known = self.robots.pop(origin) and None
        robots = known.result() if known is not None and known.done() else await self._robots(origin, request)
        if robots.unreadable:
            error = "unreachable" if robots.silent else "robots"
            raise Refused(Reason(error, "robots.txt", robots.unreadable, f"{origin}/{ROBOTS}"), passing=True)
        if not robots.allows(request.url):
            raise Refused(Reason("robots", "robots.txt", "disallow", f"{origin}/{ROBOTS}"))
        if robots.delay_s:
            request.meta["autothrottle_dont_adjust_delay"] = True
        asked = request.meta.get(ASKED)
        if self.job.respect_opt_out and asked is not None and asked.kind == ITEM:
            told = self.opt_outs.get(origin)
            said = told.result() if told is not None and told.done() else await self._opt_outs(origin)
            refusal = said.refusal(request.url)
            if refusal:
                raise Refused(Reason("opted_out", *refusal))
        until = self.frontier.queue(host(request.url)).paused_until
        if until > time.time():
            raise Paused(until)

    def _stale(self, robots: "asyncio.Future[Robots]") -> bool:
        """A site that could not say what it allows is asked again, when its URLs are."""
        if robots.exception() is not None:
            return False
        told = robots.result()
        return bool(told.unreadable) and time.time() - told.asked >= self.job.wait_s

    async def _robots(self, origin: str, request: Request) -> Robots:
        if origin not in self.robots:
            future = self.robots[origin] = asyncio.get_running_loop().create_future()
            try:
                robots = Robots(await self._file(origin, ROBOTS), self.job.product)
            except Refused as refused:
                future.set_exception(refused)
            else:
                if robots.delay_s > self.job.delay_s:
                    self._slow_down(request, robots.delay_s)
                future.set_result(robots)
        return await self.robots[origin]

    async def _opt_outs(self, origin: str) -> OptOuts:
        if origin not in self.opt_outs:
            future = self.opt_outs[origin] = asyncio.get_running_loop().create_future()
            try:
                tdmrep, ai = await self._file(origin, TDMREP), await self._file(origin, AI)
                future.set_result(OptOuts(tdmrep, ai, self.job.product))
            except Refused as refused:
                future.set_exception(refused)
        return await self.opt_outs[origin]

    async def _file(self, origin: str, name: str) -> SiteFile:
        """A file of the site, from what is known or from the site itself. Whatever happens, there is an answer."""
        known = self.files.get((origin, name))
        if known is not None:
            return known
        meta = {SITE_FILE: True, "download_timeout": self.job.timeout_s}
        request = Request(f"{origin}/{name}", meta=meta, callback=NO_CALLBACK, priority=1000)
        status, body, error = None, "", ""
        try:
            assert self.crawler.engine
            response = await self.crawler.engine.download_async(request)
            status = response.status
            if status < 300:
                body = response.body[:LONGEST].decode("utf-8", "replace")
        except Exception as failure:
            reason = reason_of(failure, request)
            if reason.error in _TRANSIENT:
                error = f"{reason.signal}: {reason.value}"
            else:  # redirected in circles, too large, not to be decoded: as if it were not there
                status = 404
            if reason.error == "address":
                raise Refused(reason) from failure
        file = SiteFile(origin, name, time.time(), status, body, error)
        if not error and (status or 500) < 500:
            self.files[origin, name] = file
            self.news.append(file)
        return file

    def answered(self, request: Request) -> None:
        """A Crawl-delay begins with the answer: a request that was long on its way has not the next at its heels."""
        assert self.crawler.engine
        downloader = self.crawler.engine.downloader
        slot = downloader.slots.get(downloader.get_slot_key(request))
        if slot is not None and slot.concurrency == 1:
            slot.lastseen = time.monotonic()

    def _slow_down(self, request: Request, delay: float) -> None:
        """Asks the host no more often than its Crawl-delay, and not at once: a process before us may just have."""
        assert self.crawler.engine
        self.frontier.queue(host(request.url)).most = 1
        downloader = self.crawler.engine.downloader
        key = downloader.get_slot_key(request)
        downloader.per_slot_settings[key] = {"delay": delay, "concurrency": 1, "jitter": 0}
        _, slot = downloader._get_slot(request)
        slot.delay, slot.concurrency, slot.jitter, slot.lastseen = delay, 1, 0, time.monotonic()
