"""Pages are rendered after they were downloaded: the browser runs the scripts of a document that it gets from us.

So what Scrapy and our other middlewares do for every page, they do for these: robots.txt, opt-out headers, redirects,
limits of type and size. The browser asks only for what the scripts want, through our proxy.
"""

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from playwright.async_api import Browser, Error, Page, Route
from playwright.async_api import TimeoutError as TooSlow
from scrapy import Request, signals
from scrapy.http import HtmlResponse, Response
from scrapy_playwright.handler import Config, ScrapyPlaywrightDownloadHandler
from scrapy_playwright.provider import PlaywrightBrowserProvider

from crawlers.browser import INSTALL
from crawlers.frontier import ASKED
from crawlers.known import PAGE
from crawlers.proxy import Proxy
from crawlers.refused import Reason, Refused
from dsray.errors import SourceError

if TYPE_CHECKING:
    from typing import Self

    from scrapy.crawler import Crawler

_AT_ONCE = 8
_QUIET_S = 5.0
"""How long a loaded page may go on asking for data before it is read as it is."""

_PAGE = "playwright_page"
_LOADED = frozenset({"document", "script", "xhr", "fetch", "stylesheet"})
_WIRE = ("content-length", "transfer-encoding", "connection", "set-cookie")


class RenderMiddleware:
    """HTML pages go through the browser, each in a context of its own: no cookies, no storage, no service workers."""

    def __init__(self, crawler: "Crawler") -> None:
        self.crawler = crawler
        self.job = crawler.spider.job  # type: ignore[union-attr] # ours
        self.proxy = Proxy(self.job.allow_private, int(self.job.max_mb * 1e6))
        # Ours, not one in DOWNLOAD_HANDLERS: those are made for each scheme, and each would start a driver.
        self.handler = ScrapyPlaywrightDownloadHandler.from_crawler(crawler)
        self.handler.browser_provider_cls = partial(Chromium, lost=self._lost)
        self.room = asyncio.Semaphore(_AT_ONCE)
        self.limits: set[asyncio.Timeout] = set()
        self.numbers = count()

    @classmethod
    def from_crawler(cls, crawler: "Crawler") -> "Self":
        middleware = cls(crawler)
        crawler.signals.connect(middleware.close, signals.spider_closed)
        return middleware

    async def close(self) -> None:
        await self.handler.close()
        self.proxy.close()

    async def process_response(self, request: Request, response: Response) -> Response:
        known = request.meta.get(ASKED)
        if known is None or known.kind != PAGE or not isinstance(response, HtmlResponse) or response.status >= 300:
            return response
        async with self.room:
            html = await self._rendered(response)
        if len(html) > self.job.max_mb * 1e6:
            raise Refused(Reason("too_large", "rendered size", f"{len(html)} characters", response.url))
        return response.replace(body=html.encode(response.encoding, "xmlcharrefreplace"))

    async def _rendered(self, response: HtmlResponse) -> str:
        """The page's HTML once its scripts are at rest. Raises Refused."""
        request = Request(response.url, meta=await self._meta(response))
        limit = asyncio.timeout(self.job.timeout_s)
        try:
            async with limit:
                self.limits.add(limit)
                await self.handler.download_request(request)
                page: Page = request.meta[_PAGE]
                await _rest(page)
                return await page.content()
        except (TimeoutError, TooSlow) as error:
            reason = Reason("timeout", "browser", "not loaded in time", response.url)
            raise Refused(reason, passing=True) from error
        except Error as error:
            reason = Reason("unreachable", "browser", str(error).split("\n")[0][:200], response.url)
            raise Refused(reason, passing=True) from error
        except SourceError as error:
            self._give_up(error)
            raise Refused(Reason("unreachable", "browser", error.wrong, response.url), passing=True) from error
        finally:
            self.limits.discard(limit)
            if _PAGE in request.meta:
                with contextlib.suppress(Error, TimeoutError):
                    async with asyncio.timeout(_QUIET_S):
                        await request.meta[_PAGE].context.close()

    async def _meta(self, response: HtmlResponse) -> dict[str, Any]:
        """What scrapy-playwright is told about one page. Closing it is ours: it may hang."""

        async def prepare(page: Page, request: Request) -> None:
            request.meta[_PAGE] = page  # whatever comes next, it is closed
            gate = _Gate(page, response)
            await page.context.route("**", _stop)  # windows that the page opens
            await page.route("**", gate.passes)

        return {
            "playwright": True,
            "playwright_include_page": True,
            "playwright_page_init_callback": prepare,
            "playwright_page_goto_kwargs": {"wait_until": "commit", "timeout": self.job.timeout_s * 1000},
            "playwright_context": f"page {next(self.numbers)}",
            "playwright_context_kwargs": {
                "user_agent": self.job.agent,
                "proxy": {"server": await self.proxy.url(), "bypass": "<-loopback>"},
                "service_workers": "block",
                "accept_downloads": False,
            },
        }

    def _lost(self, browser: Browser) -> None:
        """The browser is gone; Playwright leaves some of those that wait for it waiting."""
        for limit in self.limits:
            if not limit.expired():
                limit.reschedule(asyncio.get_running_loop().time())

    def _give_up(self, error: SourceError) -> None:
        """Without a browser there is no crawl."""
        spider, engine = self.crawler.spider, self.crawler.engine
        if spider.pipeline.failure is None:  # type: ignore[union-attr] # ours
            spider.pipeline.failure = error  # type: ignore[union-attr]
            assert engine
            asyncio.ensure_future(engine.close_spider_async(reason="browser"))  # noqa: RUF006


class _Gate:
    """What one page may load: the document, which is here already, and what its scripts need; it stays where it is."""

    def __init__(self, page: Page, response: HtmlResponse) -> None:
        self.page = page
        self.document: HtmlResponse | None = response

    async def passes(self, route: Route) -> None:
        request = route.request
        if request.is_navigation_request() and request.frame == self.page.main_frame:
            document, self.document = self.document, None
            if document is None:  # elsewhere is another page, with a robots.txt of its own
                await route.fulfill(status=204)
            else:
                await route.fulfill(status=200, headers=_headers(document), body=document.body)
        elif request.resource_type in _LOADED:
            await route.continue_()
        else:
            await route.abort()


def _headers(document: HtmlResponse) -> dict[str, str]:
    """As its server sent them, but for those of the wire."""
    said = {name.decode("latin-1").lower(): b", ".join(values) for name, values in document.headers.items()}
    return {name: value.decode("latin-1") for name, value in said.items() if name not in _WIRE}


async def _stop(route: Route) -> None:
    await route.abort()


async def _rest(page: Page) -> None:
    """Waits for a page to load, and then until it asks for nothing for half a second: some never rest."""
    await page.wait_for_function("document.readyState == 'complete'", timeout=0)
    with contextlib.suppress(TooSlow):
        await page.wait_for_load_state("networkidle", timeout=_QUIET_S * 1000)


class Chromium(PlaywrightBrowserProvider):  # type: ignore[misc] # untyped
    """Says what to do when there is no browser, and when there is none any more."""

    def __init__(self, config: Config, lost: Callable[[Browser], None]) -> None:
        super().__init__(config)
        self.lost = lost

    async def launch_browser(self) -> Browser:
        try:
            browser: Browser = await super().launch_browser()
        except Error as error:
            said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
            raise SourceError(f"Chromium does not start: {said[:200].rstrip('.')}.", INSTALL) from error
        browser.on("disconnected", self.lost)
        return browser
