"""What crawls know of forgotten URLs, taken out of their records. A finished crawl keeps its snapshot, what is known
and the sizes of its rounds; fetch lists, logs and segments, which nobody reads again, are deleted."""

import json
import re
from collections.abc import Collection, Iterator

import pyarrow as pa

from crawlers.known import left
from dsray.errors import LakeError
from dsray.forget.answers import without
from dsray.forget.raws import Moved, exchanged_json, swap
from dsray.lake import shards, tombstones
from dsray.lake.store import Entry, Store
from dsray.lake.tombstones import Order, Tombstones

_TABLES = re.compile(r"/(known|list|log)-")
_KEPT = re.compile(r"/(crawl|begin|round|listed)(\.json)?$")


def roots(store: Store) -> dict[str, list[Entry]]:
    """crawls/<source>/<crawl> → its objects."""
    found: dict[str, list[Entry]] = {}
    for entry in store.list("crawls/"):
        found.setdefault("/".join(entry.name.split("/")[:3]), []).append(entry)
    return found


def refuse_unfinished(store: Store, forgotten: Tombstones) -> None:
    """Raises LakeError when a crawl that did not end knows of what is to be forgotten."""
    for root, entries in roots(store).items():
        if not any(entry.name == f"{root}/crawl.json" for entry in entries):
            tables = (_read(store, entry.name) for entry in entries if _TABLES.search(entry.name))
            if any(left(table, forgotten).num_rows < table.num_rows for table in tables):
                raise LakeError(
                    f"The crawl {root} did not end, and knows of what is to be forgotten.",
                    f"End it with `dsray crawl run`, or give it up: delete {root}/ there.",
                )


def clean(store: Store, order: Order, moved: Moved) -> Iterator[Entry]:
    """Takes the order's URLs out of all crawls that know them; yields the objects that are to be deleted then."""
    forgotten = tombstones.of([order])
    for root, entries in roots(store).items():
        if not any(entry.name == f"{root}/crawl.json" for entry in entries):
            continue  # it began after the order, which it obeys
        end = json.loads(store.read(f"{root}/crawl.json"))
        tables = {one["name"]: _read(store, one["name"]) for one in end["known"]}
        rest = {name: left(table, forgotten) for name, table in tables.items()}
        found = any(rest[name].num_rows < table.num_rows for name, table in tables.items())
        if not (found or any(one["name"] in moved for one in end["shards"])):
            continue
        yield from _finished(store, entries, order, moved, tables.keys())
        known = []  # changed last: until then whoever comes after a kill finds the crawl again
        for name, table in tables.items():
            if rest[name].num_rows < table.num_rows:
                swap(store, name, bytes(shards.encode(rest[name])))
            known.append({"name": name, "rows": rest[name].num_rows})
        changed = {"known": known, "sites": "", "urls": sum(one["rows"] for one in known),
                   "shards": exchanged_json(end["shards"], moved)}  # fmt: skip
        swap(store, f"{root}/crawl.json", json.dumps({**end, **changed}).encode())


def _finished(store: Store, entries: list[Entry], order: Order, moved: Moved, kept: Collection[str]) -> Iterator[Entry]:
    for entry in entries:
        if entry.name.endswith(".warc.gz"):
            if rest := without(store.read(entry.name), order):
                swap(store, entry.name, rest)
            else:
                yield entry
        elif entry.name.endswith("/round.json"):
            state = json.loads(store.read(entry.name))
            said = {**state, "known": [], "sites": "", "hosts": {}, "pauses": {}}
            swap(store, entry.name, json.dumps({**said, "shards": exchanged_json(state["shards"], moved)}).encode())
        elif entry.name not in kept and not _KEPT.search(entry.name):
            yield entry


def _read(store: Store, name: str) -> pa.Table:
    from crawlers.ledger import read_table

    return read_table(store, name)


def keys_of(urls: list[str]) -> list[int]:
    """The crawl's keys of URLs, whatever they would be asked as."""
    from crawlers.known import ITEM, PAGE
    from crawlers.spiders.read import API, SITEMAP
    from crawlers.urls import key

    return sorted({key(kind, url) for url in urls for kind in (ITEM, PAGE, API, SITEMAP)})
