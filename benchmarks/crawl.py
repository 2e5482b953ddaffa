"""A crawl with everything on against a bare Scrapy spider on the same site: rows per second of one core.

The demo's gallery. dsray fetches with robots.txt, opt-outs, address guard, limits and evidence, and commits Parquet
segments to a file lake. The spider follows the same links with Scrapy's own defaults, asks no robots.txt, and counts
what it gets. Seconds are processor time of the crawling process, start included: the site runs beside it.
"""

import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from benchmarks import protocol
from dsray import recipe as recipes
from dsray.demo import recipe, site
from dsray.lake.store import open_store
from dsray.stages import collect
from dsray.stages.step import Progress, Work

AT_LEAST = 0.9


def spider(start: str) -> None:
    """The baseline, in a process of its own; prints how many pictures it got."""
    from scrapy import Request, Spider
    from scrapy.crawler import AsyncCrawlerProcess
    from scrapy.http import Response, TextResponse

    rows = []

    class Bare(Spider):
        name = "bare"
        start_urls = [start]  # noqa: RUF012  # Scrapy's way

        def parse(self, response: TextResponse, **_: Any) -> Iterator[Request]:
            for figure in response.css("figure"):
                src, caption = figure.css("img::attr(src)").get(""), figure.css("figcaption::text").get()
                yield response.follow(src, self.keep, cb_kwargs={"caption": caption})
            yield from response.follow_all(css="a")

        def keep(self, response: Response, caption: str) -> None:
            rows.append((response.url, caption, response.body))

    process = AsyncCrawlerProcess({"LOG_LEVEL": "CRITICAL", "TELNETCONSOLE_ENABLED": False})
    process.crawl(Bare)
    process.start()
    print(len(rows))


def per_core(crawl: Callable[[], int]) -> float:
    """Rows per second of processor time of the child process that `crawl` runs."""

    def spent() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    before = spent()
    return crawl() / (spent() - before)


def main() -> int:
    limit = 1000 if protocol.quick(__doc__) else None
    with tempfile.TemporaryDirectory(prefix="dsray-bench-") as folder, site.serve(0, limit) as start:
        made = recipes.parse(recipe.text().replace(f"http://127.0.0.1:{recipe.PORT}/", start))
        work = Work(made, open_store(f"file://{folder}"), Progress(lambda *_: None))
        numbers = count()

        def dsray() -> int:
            job = collect.job("gallery", made.collect["gallery"].crawl, 0, [start], str(next(numbers)), work)
            return int(collect.fetch(job, lambda _: None)["counts"]["items"])

        def bare() -> int:
            code = f"from benchmarks.crawl import spider; spider({start!r})"
            done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=600)
            return int(done.stdout)

        ours, theirs = protocol.medians(5, lambda: per_core(dsray), lambda: per_core(bare))
    print(f"{ours:.0f} rows/s a core with everything on, {theirs:.0f} by a bare spider")
    return protocol.verdict("crawl", ours, theirs, ours / theirs, AT_LEAST, "rows/s")


if __name__ == "__main__":
    sys.exit(main())
