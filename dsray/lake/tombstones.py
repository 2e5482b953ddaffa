"""What was forgotten: numbered orders, each naming the one before it, and what keeps out of the lake what they took.

forgotten/00001.json        an order: who asked why, what goes, and what keeps it out, all of it as hashes
forgotten/00001-done.json   its end: what was deleted. An order without one is carried on by `dsray forget --continue`

A hash does not tell what it is of, but whoever knows a URL can tell that it was forgotten: no rule could keep it out
otherwise.
"""

import json
import re
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from typing import Any
from urllib.parse import urlsplit

from dsray import keys
from dsray.errors import LakeError
from dsray.lake.store import Missing, Store

FOLDER = "forgotten/"
CONTINUE = "Run `dsray forget --continue`."
_FORMAT = 1
_NAME = re.compile(r"forgotten/(\d{5})(-done)?\.json")


@dataclass(frozen=True)
class Order:
    """One order, as it is signed off. `removes` tells what goes, and is no part of what keeps rows out."""

    number: int
    at: str
    by: str
    reason: str
    asked: dict[str, int]  # what it was asked by (url, host, id, source, where) → how many
    rows: list[str] = field(default_factory=list)  # SHA-256 of row ids
    urls: list[str] = field(default_factory=list)  # SHA-256
    pages: list[str] = field(default_factory=list)  # SHA-256 of the pages that named the rows: for archived answers
    hosts: list[str] = field(default_factory=list)  # SHA-256
    crawled: list[int] = field(default_factory=list)  # the crawl's own 64-bit keys of the URLs
    digests: list[str] = field(default_factory=list)  # of payloads
    signatures: list[int] = field(default_factory=list)  # 64 bits each, of which near-duplicates share most
    models: list[str] = field(default_factory=list)  # SHA-256 of the weights of models that learned from the rows
    removes: dict[str, Any] = field(default_factory=dict)
    before: str = ""  # SHA-256 of the order before

    def written(self) -> bytes:
        return keys.canonical({"format": _FORMAT, **asdict(self)})


@dataclass(frozen=True)
class Tombstones:
    """What all orders together keep out; false where there are none."""

    rows: frozenset[str] = frozenset()
    urls: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    crawled: frozenset[int] = frozenset()
    digests: frozenset[str] = frozenset()
    signatures: tuple[int, ...] = ()
    signed: tuple[int, ...] = ()  # the orders that have signatures
    models: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.rows or self.urls or self.hosts)

    def holds(self, row_id: str, *urls: str | None) -> bool:
        """Was the row forgotten, or one of its URLs, or their host?"""
        return mark(row_id) in self.rows or any(self.holds_url(url) for url in urls if url)

    def holds_url(self, url: str) -> bool:
        return bool(self.urls and mark(url) in self.urls) or self.holds_host(host(url))

    def holds_host(self, name: str) -> bool:
        return bool(self.hosts and name) and host_mark(name) in self.hosts


def orders(store: Store) -> list[Order]:
    """All orders, by number. Raises LakeError for one that is gone, was changed, or cannot be read."""
    there = [one for entry in store.list(FOLDER) if (one := _NAME.fullmatch(entry.name))]
    names = [name_of(number) for number in range(1, max((int(one[1]) for one in there), default=0) + 1)]
    with ThreadPoolExecutor(16) as pool:
        data = list(pool.map(partial(_data, store), names))
    found = [_order(store, name, one) for name, one in zip(names, data, strict=True)]
    said = [order.before for order in found[1:]]  # what each but the last was when it was written
    if any(one[2] and int(one[1]) == len(found) for one in there):
        said.append(_ended(store, len(found)))
    for name, written, digest in zip(names, data, said, strict=False):
        if keys.digest(written) != digest:
            raise _broken(store, name)
    return found


def load(store: Store) -> Tombstones:
    """What is kept out of this lake. Raises LakeError while an order has not come to its end: until then what it takes
    is still there."""
    if stopped := begun(store):
        raise LakeError(f"Order {stopped[0].number} to forget rows was stopped before its end.", CONTINUE)
    return of(orders(store))


def of(found: Collection[Order]) -> Tombstones:
    """What orders keep out together."""

    def all_of(name: str) -> Iterable[Any]:
        return (one for order in found for one in getattr(order, name))

    rows, urls, hosts, crawled, digests, models = (
        frozenset(all_of(name)) for name in ("rows", "urls", "hosts", "crawled", "digests", "models")
    )
    signed = tuple(order.number for order in found if order.signatures)
    return Tombstones(rows, urls, hosts, crawled, digests, tuple(sorted(set(all_of("signatures")))), signed, models)


def add(store: Store, order: Order) -> Order:
    """Files an order under the next free number, which it gets, and chains it to the one before."""
    there = orders(store)
    number = max((one.number for one in there), default=0) + 1
    before = keys.digest(store.read(name_of(there[-1].number))) if there else ""
    filed = Order(**{**asdict(order), "number": number, "before": before})
    if store.create(name_of(number), filed.written()) or store.read(name_of(number)) == filed.written():
        return filed
    return add(store, order)


def end(store: Store, order: Order, told: dict[str, Any]) -> dict[str, Any]:
    """Files the end of an order: what was deleted. The first that was told stands."""
    said = {"format": _FORMAT, "number": order.number, "order": keys.digest(store.read(name_of(order.number))), **told}
    store.create(name_of(order.number, "-done"), keys.canonical(said))
    stands: dict[str, Any] = json.loads(store.read(name_of(order.number, "-done")))
    return stands


def begun(store: Store) -> list[Order]:
    """The orders that did not come to their end."""
    found = [one for entry in store.list(FOLDER) if (one := _NAME.fullmatch(entry.name))]
    stopped = {int(one[1]) for one in found} - {int(one[1]) for one in found if one[2]}
    return [_order(store, name, _data(store, name)) for name in map(name_of, sorted(stopped))]


def name_of(number: int, what: str = "") -> str:
    return f"{FOLDER}{number:05d}{what}.json"


def mark(text: str) -> str:
    """What stands for a URL, a host or a row id in an order."""
    return keys.digest(text.encode(errors="surrogatepass"))


host_mark = lru_cache(maxsize=65536)(mark)


def host(url: str) -> str:
    """The host of a URL, with its port where it names one that is not the scheme's own."""
    try:
        parts = urlsplit(url)
        own = parts.port in (None, {"http": 80, "https": 443}.get(parts.scheme))
        return (parts.hostname or "") if own else f"{parts.hostname}:{parts.port}"
    except ValueError:
        return ""


def _data(store: Store, name: str) -> bytes:
    try:
        return store.read(name)
    except Missing:
        raise _broken(store, name) from None


def _ended(store: Store, number: int) -> str:
    """The digest of an order, as its end has it."""
    name = name_of(number, "-done")
    try:
        return str(json.loads(store.read(name))["order"])
    except (ValueError, TypeError, KeyError):
        raise _broken(store, name) from None


def _broken(store: Store, name: str) -> LakeError:
    return LakeError(f"{store.url}/{name} is gone or was changed.", "Bring it back from a copy of the lake.")


def _order(store: Store, name: str, data: bytes) -> Order:
    try:
        fields = json.loads(data)
        format_ = fields.pop("format")
        if format_ > _FORMAT:
            raise LakeError(f"{store.url}/{name} was written by a newer dsray (format {format_}).", "Update dsray.")
        return Order(**fields)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise LakeError(
            f"{store.url}/{name} is not an order to forget.", "Bring it back from a copy of the lake."
        ) from None
