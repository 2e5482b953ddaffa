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
from typing import TYPE_CHECKING, Any, NoReturn

from crawlers.job import Job, parse
from crawlers.ledger import Ledger
from crawlers.owner import confess, die_with, leave
from dsray.errors import DsrayError, UnreachedError
from dsray.lake.store import open_store

if TYPE_CHECKING:
    from crawlers.spider import MediaSpider

_PROGRESS_S = 1.0
_PULSE_S = 0.25


def main() -> NoReturn:
    leave(fetch())


def fetch() -> int:
    """The exit code, after the last words."""
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
    """Fetches what the ledger lacks, and closes it. Raises UnreachedError when no start page can be asked, RecipeError
    for an own spider that cannot be had, LakeError when the lake cannot do its part."""
    from scrapy.core.engine import ExecutionEngine
    from scrapy.crawler import AsyncCrawlerProcess

    from crawlers.settings import settings
    from crawlers.spider import MediaSpider
    from crawlers.spiders import own

    if job.spider:
        own.load(job.spider)  # a mistake in the recipe is said once, and is no failure of every page
    ExecutionEngine._SLOT_HEARTBEAT_INTERVAL = _PULSE_S  # how soon a host's pause is seen to be over; no setting for it
    process = AsyncCrawlerProcess(settings(job, ledger.listed()["host"].unique().to_pylist()))
    logging.disable(logging.WARNING)  # Scrapy's LOG_LEVEL only filters records that were made, two for every request
    crawler = process.create_crawler(MediaSpider)
    task = process.crawl(crawler, job=job, ledger=ledger)
    ended = Event()
    Thread(target=report, args=(crawler, ended), daemon=True).start()
    process.start(install_signal_handlers=False)
    ended.set()
    task.result()  # raises what Scrapy only logs: a lake that fails while the spider reads what there is to ask
    spider = crawler.spider
    assert isinstance(spider, MediaSpider)
    if spider.pipeline.failure is not None:
        raise spider.pipeline.failure
    if not spider.pipeline.reached and not job.insist:
        raise unreachable(spider)
    seconds = {host: queue.elapsed() for host, queue in spider.frontier.queues.items()}
    return ledger.finish(left=len(spider.frontier), seconds=seconds)


def unreachable(spider: "MediaSpider") -> UnreachedError:
    """What a person should know when nobody answered."""
    known = next((outcome.known for outcome in spider.pipeline.batch.outcomes if outcome.known.evidence), None)
    if known is None:
        return UnreachedError("Nothing was asked within the crawl's budget.", "Give it more `minutes`.")
    value = json.loads(known.evidence or "{}").get("value", "")
    if known.outcome == "address":
        return UnreachedError(
            f"{known.url} is at {value}, an address that a crawl may not ask.",
            "Set `allow_private: true` if the site is yours.",
        )
    return UnreachedError(
        f"{known.url} cannot be reached: {value.rstrip('.')}.", "Check the address, and that the site is up."
    )


def report(crawler: Any, ended: Event) -> None:
    """Tells the owner once a second how far we are."""
    while not ended.wait(_PROGRESS_S):
        spider = crawler.spider
        if spider is not None:
            counts = {name: spider.spent[name] for name in ("pages", "items", "unchanged", "bytes")}
            say({**counts, "pending": len(spider.frontier)})


def say(news: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(news) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
