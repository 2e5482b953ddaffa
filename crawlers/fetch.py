"""One process, one partition of one crawl: `python -m crawlers.fetch` reads its job, a JSON line, from standard input.

Standard output: JSON lines of progress, about one a second, and at the end {"done": {shards, counts, left}}. Standard
input must stay open: its end means that the owner died, and ends this process. A failure is an exit code, and a last
line on standard error: {"error": [what is wrong, what to do], "kind": ...}.
"""

import json
import logging
import sys
import traceback
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from crawlers.job import Job, parse
from crawlers.ledger import Ledger
from crawlers.owner import confess, die_with
from dsray.errors import DsrayError, SourceError
from dsray.lake.store import open_store

if TYPE_CHECKING:
    from crawlers.spiders.gallery import GallerySpider

_PROGRESS_S = 1.0


def main() -> int:
    line = sys.stdin.buffer.readline()
    die_with(sys.stdin.buffer)
    try:
        job = parse(line)
        ledger = Ledger(open_store(job.lake), job)
        end = ledger.end() or crawl(job, ledger)
    except DsrayError as error:
        return confess(error)
    except Exception as error:
        traceback.print_exc()
        return confess(DsrayError(f"The crawl broke: {error!r}.", "This is a defect of dsray; please report it."))
    say({"done": end})
    return 0


def crawl(job: Job, ledger: Ledger) -> dict[str, Any]:
    """Fetches what the ledger lacks, and closes it. Raises SourceError when no start page can be asked."""
    from scrapy.crawler import AsyncCrawlerProcess

    from crawlers.settings import settings
    from crawlers.spiders.gallery import GallerySpider

    process = AsyncCrawlerProcess(settings(job))
    logging.getLogger("scrapy.downloadermiddlewares.robotstxt").disabled = True  # what it has to say is a row
    logging.disable(logging.WARNING)  # Scrapy's LOG_LEVEL only filters records that were made, two for every request
    crawler = process.create_crawler(GallerySpider)
    process.crawl(crawler, job=job, ledger=ledger)
    ended = Event()
    Thread(target=report, args=(crawler, ended), daemon=True).start()
    process.start(install_signal_handlers=False)
    ended.set()
    spider = crawler.spider
    if process.bootstrap_failed or not isinstance(spider, GallerySpider):
        raise SourceError("The crawler could not start.", "Its own message stands above; this is a defect of dsray.")
    if spider.pipeline.failure is not None:
        raise spider.pipeline.failure
    if not spider.pipeline.reached:
        raise unreachable(spider)
    return ledger.finish(left=len(spider.frontier))


def unreachable(spider: "GallerySpider") -> SourceError:
    """What a person should know when no start page could be asked."""
    row = next((outcome.row for outcome in spider.pipeline.batch.outcomes if outcome.row), None)
    url = spider.job.start[0]
    if row is None:
        return SourceError(f"{url} was not asked within the crawl's budget.", "Give it more `minutes`.")
    evidence = json.loads(row["evidence"])
    if row["error"] == "address":
        return SourceError(
            f"{row['url']} is at {evidence['value']}, an address that a crawl may not ask.",
            "Set `allow_private: true` if the site is yours.",
        )
    return SourceError(
        f"{row['url']} cannot be reached: {evidence['value'].rstrip('.')}.",
        "Check the address, and that the site is up.",
    )


def report(crawler: Any, ended: Event) -> None:
    """Tells the owner once a second how far we are."""
    while not ended.wait(_PROGRESS_S):
        spider = crawler.spider
        if spider is not None:
            counts = {name: spider.spent[name] for name in ("pages", "items", "bytes")}
            say({**counts, "pending": len(spider.frontier)})


def say(news: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(news) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
