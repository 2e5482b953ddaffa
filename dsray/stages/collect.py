"""The recipe's sources → raw shards. A crawl is one Scrapy child process a partition of hosts, each in a Ray task."""

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from dsray import errors, keys
from dsray.errors import DsrayError, SourceError
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt
from dsray.recipe import Crawl, Recipe
from dsray.stages.step import Made, Step, Work, balance

VERSION = 1

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
        for partition, starts in enumerate(by_host(source.crawl.start))
    ]
    news: dict[int, dict[str, int]] = {}

    def hear(index: int, progress: dict[str, int]) -> None:
        news[index] = progress
        fetched = sum(n.get("items", 0) for n in news.values())
        known = fetched + sum(n.get("pending", 0) for n in news.values())
        work.progress.show(fetched, known, f"{sum(n.get('pages', 0) for n in news.values())} pages")

    ends = run_all(fetch, jobs, hear)
    shards = sorted((Receipt(**shard) for end in ends for shard in end["shards"]), key=lambda receipt: receipt.digest)
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
    """Runs `python -m crawlers.fetch` to its end. The child dies with us: it watches the pipe that we hold."""
    command = [sys.executable, "-m", "crawlers.fetch"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as child:
        assert child.stdin and child.stdout and child.stderr
        said: list[str] = []
        listener = Thread(target=partial(said.extend, child.stderr), daemon=True)
        listener.start()
        watch = _ending(child, job["budget"]["minutes"] * 60 + _GRACE_S)
        try:
            child.stdin.write(json.dumps(job) + "\n")
            child.stdin.flush()
            for line in child.stdout:
                news = json.loads(line)
                if "done" in news:
                    end: dict[str, Any] = news["done"]
                    return end
                post(news)
            child.wait(timeout=30)
            listener.join(timeout=5)
        except BrokenPipeError:
            child.wait(timeout=30)
            listener.join(timeout=5)
        finally:
            watch.cancel()
            child.kill() if child.poll() is None and not said else None
    raise _why(said, child.returncode)


def _ending(child: subprocess.Popen[str], seconds: float) -> Any:
    from threading import Timer

    timer = Timer(seconds, child.kill)
    timer.daemon = True
    timer.start()
    return timer


def _why(said: list[str], code: int | None) -> DsrayError:
    for line in reversed(said):
        try:
            told = json.loads(line)
            kind = getattr(errors, told.get("kind", "SourceError"), SourceError)
            error: DsrayError = kind(*told["error"])
            return error
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    last = said[-1].strip() if said else f"exit code {code}"
    return SourceError(f"A fetch process ended too early: {last}.", "Run again to go on from its last segment.")
