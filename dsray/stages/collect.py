"""The recipe's sources → raw shards. A crawl is one Scrapy child process a partition of hosts, in a Ray task."""

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Thread, Timer
from typing import Any
from urllib.parse import urlsplit

from crawlers.owner import heard
from dsray import keys
from dsray.collection import Crawl
from dsray.errors import ContestedError, SourceError
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt
from dsray.recipe import Recipe
from dsray.stages import ingest
from dsray.stages.step import Made, Step, Work, balance

VERSION = 1

_TRIES = 10

_GRACE_S = 120
"""How long a fetch process may outlive its crawl's minutes before it is ended."""


def step(recipe: Recipe, made: Made, crawl: int = 0) -> Step:
    """`crawl` counts how often the sources were asked anew; the same number finds what was fetched then."""
    sources = {name: source.model_dump(mode="json") for name, source in recipe.collect.items()}
    return Step(
        "collect",
        "collect",
        VERSION,
        {"sources": sources, "opted_out": recipe.select.drop.opted_out, "crawl": crawl},
        [],
    )


def run(step: Step, made: Made, work: Work) -> Manifest:
    """Crawls all partitions of all sources; what an earlier try fetched and committed is not fetched again."""
    from dsray.engine.tasks import run_all

    jobs = [
        job(name, source.crawl, partition, starts, step.key, work)
        for name, source in work.recipe.collect.items()
        if source.crawl
        for partition, starts in enumerate(by_host(source.crawl.start))
    ]
    news: dict[int, dict[str, int]] = {}

    def hear(index: int, progress: dict[str, int]) -> None:
        news[index] = progress
        fetched = sum(n.get("items", 0) for n in news.values())
        known = fetched + sum(n.get("pending", 0) for n in news.values())
        work.progress.show(fetched, known, f"{sum(n.get('pages', 0) for n in news.values())} pages")

    ends = run_all(fetch, jobs, hear)
    crawled = [Receipt(**shard) for end in ends for shard in end["shards"]]
    others = [
        receipt
        for name, source in work.recipe.collect.items()
        if source.crawl is None
        for receipt in ingest.run(name, source, work, work.recipe.texts())[0]
    ]
    shards = sorted([*crawled, *others], key=lambda receipt: receipt.digest)
    rows = sum(receipt.rows for receipt in shards)
    if not rows:
        raise SourceError(
            "The crawl found no items.", "Check the `item` and `follow` selectors against the site's HTML."
        )
    return step.manifest(shards, balance(rows), {"pages": sum(end["counts"].get("pages", 0) for end in ends)})


def by_host(start: list[str]) -> list[list[str]]:
    """Start pages in partitions: a host belongs to one only, so politeness is kept in one process."""
    hosts: dict[str, list[str]] = defaultdict(list)
    for url in start:
        hosts[urlsplit(url).netloc].append(url)
    return [hosts[host] for host in sorted(hosts)]


def job(name: str, crawl: Crawl, partition: int, start: list[str], key: str, work: Work) -> dict[str, Any]:
    """What a fetch process reads from its standard input."""
    params = crawl.model_dump(mode="json")
    return {
        **params,
        "lake": work.store.url,
        "source": name,
        "key": keys.key("crawl", VERSION, params, [name, key]),
        "partition": f"{partition:04d}",
        "start": start,
        "respect_opt_out": work.recipe.select.drop.opted_out,
        "segment_mb": 64,
        "segment_s": 60,
    }


def fetch(job: dict[str, Any], post: Callable[[Any], None]) -> dict[str, Any]:
    """One partition to its end. A process that is killed, or finds that another driver committed a segment before it,
    is followed by one that goes on from the segments."""
    for _ in range(_TRIES - 1):
        with suppress(ContestedError, KilledError):
            return fetch_once(job, post)
    return fetch_once(job, post)


class KilledError(SourceError):
    """A fetch process was ended by a signal."""


def fetch_once(job: dict[str, Any], post: Callable[[Any], None]) -> dict[str, Any]:
    """Runs `python -m crawlers.fetch` to its end. The child dies with us: it watches the pipe that we hold."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "crawlers.fetch"]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as child:
        assert child.stdin and child.stdout and child.stderr
        said: list[str] = []
        listener = Thread(target=partial(said.extend, child.stderr), daemon=True)
        listener.start()
        limit = Timer(job["budget"]["minutes"] * 60 + _GRACE_S, child.kill)
        limit.start()
        try:
            with suppress(BrokenPipeError):
                child.stdin.write(json.dumps(job) + "\n")
                child.stdin.flush()
            for line in child.stdout:
                news = json.loads(line)
                if "done" in news:
                    end: dict[str, Any] = news["done"]
                    return end
                post(news)
            child.wait(timeout=_GRACE_S)
            listener.join(timeout=5)
        finally:
            limit.cancel()
            child.kill()
    if child.returncode < 0:
        raise KilledError(f"A fetch process was killed by signal {-child.returncode}.", "Run again to go on.")
    lost = SourceError(f"A fetch process ended too early, with exit code {child.returncode}.", "Run again to go on.")
    raise heard("".join(said), lost)
