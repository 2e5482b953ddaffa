"""Where a crawl begins: what its last one knew, and the recipe's start pages, sitemaps, API pages and lists of URLs."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from crawlers.known import HELD, ITEM, PAGE, Known, holds, left, table
from crawlers.lists import batches
from crawlers.spiders.read import API, SITEMAP
from crawlers.update import buckets_for, split, update
from crawlers.urls import resolve, spelt
from dsray.errors import RecipeError
from dsray.lake import tombstones
from dsray.lake.tombstones import Tombstones

if TYPE_CHECKING:
    from crawlers.rounds import Crawl

_CHUNK = 100_000


def sow(crawl: "Crawl", begin: dict[str, Any]) -> dict[str, Any]:
    """Writes round 0. Raises RecipeError for a start that is no URL, SourceError for a list that cannot be read."""
    from crawlers import rounds

    base = rounds.read_json(crawl.store, f"{begin['base']}/crawl.json") if begin["base"] else None
    forgotten = tombstones.load(crawl.store)
    before = list(rounds.tables_of(crawl.store, base["known"])) if base else [rounds.empty()]
    before = [left(one, forgotten) for one in before] if forgotten else before
    listed = [table(chunk) for chunk in _chunks(_listed(crawl, forgotten))]
    starts = table(one for one in _starts(crawl.params) if not holds(forgotten, one))
    rows = sum(one.num_rows for one in (*before, *listed, starts))
    count = buckets_for(rows, len(before))
    finds = [split(one, count) for one in (starts, *listed)]
    known = []
    for bucket in range(count):
        mine = before[bucket % len(before)]
        mine = split(mine, count)[bucket] if count > len(before) else mine
        known.append(rounds.put(crawl, 0, bucket, update(mine, [parts[bucket] for parts in finds])))
    in_list = np.sort(np.concatenate([one["key"].to_numpy() for one in listed])) if listed else np.zeros(0, np.uint64)
    name = f"{crawl.root}/round-00000/listed"
    crawl.store.create(name, in_list.tobytes())
    state = {
        "round": 0, "known": known, "sites": base["sites"] if base else "", "urls": sum(one["rows"] for one in known),
        "hosts": {}, "pauses": {}, "counts": {}, "shards": [],
        "progress": rows, "seconds": 0.0, "chosen": 0, "listed": name,
    }  # fmt: skip
    return crawl.write("round-00000/round.json", state)


def _starts(params: dict[str, Any]) -> Iterator[Known]:
    pages = [(url, PAGE) for url in params["start"]]
    pages += [(url, SITEMAP) for url in params["sitemaps"] if url != "discover"]
    pages += [(url, API) for url in (params["api"] or {}).get("start", ())]
    for written, kind in pages:
        url = resolve(written, written)
        if url is None:
            raise RecipeError(f"The start page {written!r} is not a URL that can be asked.", "Correct the recipe.")
        yield Known(url, kind)


def _listed(crawl: "Crawl", forgotten: Tombstones) -> Iterator[Known]:
    """The items of the recipe's list of URLs, without those that were forgotten."""
    said = crawl.params["urls"]
    if not said:
        return
    for name, batch in batches(said["path"], [said["url"], *said["texts"].values()]):
        for row in batch.to_pylist():
            written = str(row[said["url"]] or "").strip()
            url = resolve(written, written)
            texts = dict.fromkeys(crawl.fields) | {field: _text(row[column]) for field, column in said["texts"].items()}
            item = Known(url or spelt(written), ITEM, name, 0, json.dumps(texts, sort_keys=True))
            if url is None:
                item.state, item.outcome = HELD, "invalid"
                item.evidence = json.dumps({"signal": "url", "value": "not a URL that can be asked", "where": name})
            if not holds(forgotten, item):
                yield item


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _chunks(records: Iterator[Known]) -> Iterator[list[Known]]:
    chunk: list[Known] = []
    for one in records:
        chunk.append(one)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
