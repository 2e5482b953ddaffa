"""The spider that follows links from the start pages and takes an item wherever the recipe's selectors match."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

from scrapy import Request, Spider, signals
from scrapy.exceptions import StopDownload
from scrapy.http import Headers, Response, TextResponse
from twisted.python.failure import Failure
from w3lib.html import get_base_url

from crawlers import extract
from crawlers.frontier import FOUND, Frontier
from crawlers.job import Job
from crawlers.ledger import Ledger
from crawlers.middlewares.consent import NO_AI
from crawlers.refused import Reason, reason_of
from crawlers.rows import ITEM, PAGE, Found, Outcome, failed, kept
from crawlers.urls import host, may_be_page, resolve, spelt

if TYPE_CHECKING:
    from typing import Self

    from scrapy.crawler import Crawler

    from crawlers.pipelines.segments import SegmentPipeline

_NOT_A_PAGE = "dsray_not_a_page"
_PAGES = (b"html", b"xml", b"text/plain")


class GallerySpider(Spider):
    """Every page → its items and its links on the crawl's hosts; every item → one raw row."""

    name = "gallery"
    pipeline: "SegmentPipeline"

    def __init__(self, job: Job, ledger: Ledger, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job = job
        self.ledger = ledger
        self.hosts = {host(url) for url in job.start}
        self.spent = Counter(ledger.counts)
        self.frontier = Frontier(job.budget, self.spent, self.ask)
        self.frontier.resume(ledger.seen, ledger.pending)

    @classmethod
    def from_crawler(cls, crawler: "Crawler", *args: Any, **kwargs: Any) -> "Self":
        spider = super().from_crawler(crawler, *args, **kwargs)
        crawler.signals.connect(spider.headers_received, signals.headers_received)
        return spider

    async def start(self) -> Any:
        """Nothing: the frontier knows the start pages."""
        return
        yield

    def ask(self, found: Found) -> Request:
        """The request for what the frontier chose."""
        return Request(found.url, self.parse, errback=self.fail, meta={FOUND: found, "verbatim_url": True})

    def headers_received(self, headers: Headers, request: Request) -> None:
        """Does not download, as a page, what is none."""
        found: Found | None = request.meta.get(FOUND)
        kind = (headers.get("Content-Type") or b"text/html").lower()
        if found and found.kind == PAGE and "Location" not in headers and not any(word in kind for word in _PAGES):
            request.meta[_NOT_A_PAGE] = True
            raise StopDownload(fail=True)

    def parse(self, response: Response, **kwargs: Any) -> Iterable[Outcome]:
        found: Found = response.meta[FOUND]
        if not 200 <= response.status < 300:
            reason = Reason("http_status", "status", str(response.status), response.url)
            return [Outcome(found, failed(self.job.source, found, reason, response))]
        if found.kind == ITEM:
            return [Outcome(found, kept(self.job.source, found, response))]
        return self.read(found, response)

    def fail(self, failure: Failure) -> Iterable[Outcome]:
        """The row of what could not be downloaded."""
        request: Request = failure.request  # type: ignore[attr-defined] # Scrapy sets it
        found: Found = request.meta[FOUND]
        if request.meta.get(_NOT_A_PAGE):
            return [Outcome(found)]
        reason = reason_of(cast(Exception, failure.value), request)
        response = getattr(failure.value, "response", None)  # the headers, when they stopped the download
        return [Outcome(found, failed(self.job.source, found, reason, response))]

    def read(self, found: Found, response: Response) -> list[Outcome]:
        """A page's items and links. Whatever its bytes are, it gets an outcome."""
        if not isinstance(response, TextResponse) or not response.body.strip():
            return [Outcome(found)]
        try:
            root, base = response.selector.root, get_base_url(response.text, response.url, response.encoding)
            directives = list(extract.robots(root, self.job.product))
            items = list(self.items(root, base, response.url, found.depth))
            links = list(self.links(root, base, response.url, found.depth + 1))
        except Exception as error:  # lxml and codecs raise a dozen kinds on damaged pages
            reason = Reason("invalid", "html", f"{type(error).__name__}: {error}"[:200], response.url)
            return [Outcome(found, failed(self.job.source, found, reason, response))]
        if _says(directives, {"nofollow", "none"}):
            links = []
        refusal = self.refusal(directives, response.url)
        refused = items if refusal else [item for item in items if not item.url.startswith(("http:", "https:"))]
        reason = refusal or Reason("invalid", "url", "not a URL that can be asked", response.url)
        outcomes = [Outcome(item, failed(self.job.source, item, reason)) for item in self.frontier.see(refused)]
        news = self.frontier.add([*items, *links])
        return [*outcomes, Outcome(found, None, news)]

    def items(self, root: extract.Node, base: str, page: str, depth: int) -> Iterator[Found]:
        for written, fields in extract.items(root, self.job.media, self.job.texts):
            yield Found(resolve(base, written) or spelt(written), ITEM, page, depth, fields)

    def links(self, root: extract.Node, base: str, page: str, depth: int) -> Iterator[Found]:
        for written in extract.links(root, self.job.follow):
            url = resolve(base, written)
            if url and host(url) in self.hosts and may_be_page(url):
                yield Found(url, PAGE, page, depth)

    def refusal(self, directives: list[tuple[str, str]], page: str) -> Reason | None:
        """Why nothing may be taken from a page, if its head says so."""
        if self.job.respect_opt_out:
            for name, directive in directives:
                if directive in NO_AI or (name, directive) == ("tdm-reservation", "1"):
                    return Reason("opted_out", f"meta {name}", directive, page)
        return None


def _says(directives: list[tuple[str, str]], words: set[str]) -> bool:
    return any(directive in words for _, directive in directives)
