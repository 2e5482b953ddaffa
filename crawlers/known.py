"""What a crawl knows of a URL: one record, the same in memory, in a fetch list, in a log and between rounds."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from crawlers import urls
from dsray.lake.tombstones import Tombstones

PAGE, ITEM = "page", "item"

HELD, NEW, AGAIN, DONE = "held", "new", "again", "done"
"""Held: only named where nothing may be taken, or no URL at all. New: to be asked. Again: to be asked once more, at
`due`. Done: has its outcome; `due` says when a recrawl by schedule asks it again."""

KNOWN = pa.schema(
    [
        ("key", pa.uint64()),  # urls.key
        ("url", pa.string()),
        ("at", pa.string()),  # where to ask, when a redirect led to another domain
        ("host", pa.string()),  # of `at` or `url`: whom a request goes to
        ("kind", pa.string()),
        ("page", pa.string()),  # the page that named it
        ("depth", pa.int32()),
        ("fields", pa.string()),  # an item's texts, JSON
        ("state", pa.string()),
        ("outcome", pa.string()),  # of the last try: read, kept, unchanged, none, or an error
        ("evidence", pa.string()),  # JSON, behind an error
        ("tries", pa.int32()),  # that failed, one after the other
        ("due", pa.float64()),  # seconds since 1970
        ("wait_s", pa.float64()),  # of the last revisit
        ("asked", pa.float64()),
        ("etag", pa.string()),
        ("modified", pa.string()),
        ("digest", pa.string()),
        ("row", pa.string()),  # id of its last raw row
        ("names", pa.list_(pa.uint64())),  # keys of the items that a page names
    ]
)


@dataclass(slots=True)
class Known:
    """A record in memory."""

    url: str
    kind: str
    page: str | None = None
    depth: int = 0
    fields: str | None = None
    state: str = NEW
    outcome: str | None = None
    evidence: str | None = None
    at: str | None = None
    tries: int = 0
    due: float | None = None
    wait_s: float = 0.0
    asked: float | None = None
    etag: str | None = None
    modified: str | None = None
    digest: str | None = None
    row: str | None = None
    names: Sequence[int] = ()
    key: int = 0
    host: str = ""

    def __post_init__(self) -> None:
        self.key = self.key or urls.key(self.kind, self.url)
        self.host = self.host or urls.host_or_none(self.at or self.url)

    @property
    def texts(self) -> dict[str, str | None]:
        """An item's texts by field."""
        return json.loads(self.fields) if self.fields else {}

    def written(self) -> dict[str, Any]:
        """As a row of KNOWN."""
        return {name: getattr(self, name) for name in KNOWN.names}


def table(records: Iterable[Known]) -> pa.Table:
    """Records as a table."""
    listed = list(records)
    columns = [pa.array([getattr(one, f.name) for one in listed], f.type) for f in KNOWN]
    return pa.Table.from_arrays(columns, schema=KNOWN)


def records(known: pa.Table) -> Iterator[Known]:
    """A table as records."""
    for batch in known.to_batches(max_chunksize=8192):
        for row in batch.to_pylist():
            row["names"] = row["names"] or ()
            yield Known(**row)


def holds(forgotten: Tombstones, one: Known) -> bool:
    """Was what the record asks for forgotten, or the host that it asks?"""
    return one.key in forgotten.crawled or forgotten.holds_host(one.host)


def left(known: pa.Table, forgotten: Tombstones) -> pa.Table:
    """The records without those of forgotten URLs and hosts, and those that were found on forgotten pages."""
    keys = np.array(sorted(forgotten.crawled), np.uint64)
    flags = np.isin(known["key"].to_numpy(), keys) | _each(known["page"], forgotten.holds_url)
    if forgotten.hosts:
        flags |= _each(known["host"], forgotten.holds_host) | _each(known["url"], forgotten.holds_url)
    return known.filter(pa.array(~flags)) if flags.any() else known


def _each(column: pa.ChunkedArray, holds: Callable[[str], bool]) -> NDArray[np.bool_]:
    """[N] `holds` of each value, asked once for every different one."""
    coded = column.combine_chunks().dictionary_encode()
    of_value = np.array([holds(value) for value in coded.dictionary.to_pylist()] + [False])
    found: NDArray[np.bool_] = of_value[coded.indices.fill_null(len(coded.dictionary)).to_numpy()]
    return found


def moment(seconds: float) -> datetime:
    """Seconds since 1970 as a row has them."""
    return datetime.fromtimestamp(seconds, UTC)
