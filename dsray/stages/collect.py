"""The recipe's sources → raw shards. A crawl's rounds run a Scrapy child process a partition, each in a Ray task."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Thread, Timer
from time import time
from typing import TYPE_CHECKING, Any

from crawlers.owner import heard
from dsray.errors import ContestedError, SourceError, UnreachedError
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt
from dsray.lake.store import Store
from dsray.recipe import Recipe
from dsray.stages import ingest
from dsray.stages.step import Made, Step, Work, balance

if TYPE_CHECKING:
    from crawlers.rounds import Crawl

VERSION = 2

_TRIES = 30

MEMORY = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "1000000", "ARROW_DEFAULT_MEMORY_POOL": "system"}
"""What a fetch process frees goes back to the machine at once: there may be one a core for hours."""

_GRACE_S = 120
"""How long a fetch process may outlive its round's minutes before it is ended."""


def step(recipe: Recipe, made: Made, crawl: int = 0, revisit: str = "all") -> Step:
    """`crawl` counts how often the sources were asked anew; the same number finds what was fetched then. `media` is the
    first field of each crawl's `item`: keys know no order."""
    sources = {name: source.model_dump(mode="json", exclude_none=True) for name, source in recipe.collect.items()}
    media = {name: next(iter(said.crawl.item), None) for name, said in recipe.collect.items() if said.crawl}
    params = {
        "sources": sources, "media": media, "opted_out": recipe.select.drop.opted_out, "crawl": crawl,
        "revisit": revisit,
    }  # fmt: skip
    return Step("collect", "collect", VERSION, params, [])


def run(step: Step, made: Made, work: Work) -> Manifest:
    """Asks every source; what an earlier try fetched and committed is not fetched again."""
    from crawlers import rounds  # with Scrapy's and others' imports: not for a run that finds all done
    from dsray.engine.connect import cpus

    shards: list[Receipt] = []
    pages = left = 0
    for name, source in work.recipe.collect.items():
        if source.crawl is None:
            shards += ingest.run(name, source, work, work.recipe.texts())[0]
            continue
        crawl = crawl_of(name, step, work.recipe, work.store)
        crawl.workers, crawl.show = cpus(), lambda note: work.progress.show(0, None, note)
        end = rounds.run(crawl, partial(fetch_all, work=work))
        shards += [Receipt(**shard) for shard in end["shards"]]
        pages += end["counts"].get("pages", 0)
        left += end["left"]
    shards.sort(key=lambda receipt: receipt.digest)
    rows = sum(receipt.rows for receipt in shards)
    if not rows:
        raise SourceError(
            "The sources gave no items.",
            "Check a crawl's `item` and `follow` selectors against the site's HTML, a path's `include`.",
        )
    crawled = [name for name, source in work.recipe.collect.items() if source.crawl]
    details = {"recrawled": crawled if step.params["crawl"] else []}
    return step.manifest(shards, balance(rows), {"pages": pages, "left": left, **details})


def crawl_of(name: str, step: Step, recipe: Recipe, store: Store) -> "Crawl":
    """The crawl of one source."""
    from crawlers.rounds import Crawl

    source = recipe.collect[name]
    assert source.crawl is not None
    fields, params = sorted(source.fields()), step.params
    return Crawl(store, name, source.crawl.model_dump(mode="json"), fields, params["opted_out"], params["crawl"],
                 params["revisit"])  # fmt: skip


def fetch_all(jobs: list[dict[str, Any]], work: Work) -> list[dict[str, Any] | UnreachedError]:
    """All partitions of a round, on the cluster."""
    from dsray.engine.tasks import run_all

    news: dict[int, dict[str, int]] = {}

    def hear(index: int, progress: dict[str, int]) -> None:
        news[index] = progress
        told = {name: sum(one.get(name, 0) for one in news.values()) for name in ("items", "unchanged", "pages")}
        fetched = told["items"] + told["unchanged"]
        known = fetched + sum(one.get("pending", 0) for one in news.values())
        work.progress.show(fetched, known, f"{told['pages']} pages")

    return run_all(fetch, jobs, hear)


def fetch(job: dict[str, Any], post: Callable[[Any], None]) -> dict[str, Any] | UnreachedError:
    """One partition to its end. A process that is killed, or finds that another driver committed a segment before it,
    is followed by one that goes on from the segments."""
    for _ in range(_TRIES - 1):
        with suppress(ContestedError, KilledError):
            return fetch_once(job, post)
    return fetch_once(job, post)


class KilledError(SourceError):
    """A fetch process was ended by a signal."""


def fetch_once(job: dict[str, Any], post: Callable[[Any], None]) -> dict[str, Any] | UnreachedError:
    """Runs `python -m crawlers.fetch` to its end. The child dies with us: it watches the pipe that we hold."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "crawlers.fetch"]
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True, env={**os.environ, **MEMORY}
    ) as child:
        assert child.stdin and child.stdout and child.stderr
        said: list[str] = []
        listener = Thread(target=partial(said.extend, child.stderr), daemon=True)
        listener.start()
        seconds = min(job["seconds"], max(0.0, job["ends_at"] - time()))
        limit = Timer(seconds + job["timeout_s"] + _GRACE_S, child.kill)
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
            with suppress(BrokenPipeError):  # again, of a job that nobody read
                child.stdin.close()
    lost = SourceError(f"A fetch process ended too early, with exit code {child.returncode}.", "Run again to go on.")
    if child.returncode < 0:
        lost = KilledError(f"A fetch process was killed by signal {-child.returncode}.", "Run again to go on.")
    why = heard("".join(said), lost)
    if isinstance(why, UnreachedError):
        return why
    raise why
