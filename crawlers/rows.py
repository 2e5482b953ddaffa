"""What a fetch makes: URLs found, and raw rows of what came of them."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pyarrow as pa
from scrapy.http import Response

from crawlers.refused import Reason
from dsray import keys
from dsray.schema import RAW

PAGE, ITEM = "page", "item"

HEADERS = ("content-type", "content-length", "etag", "last-modified", "x-robots-tag", "tdm-reservation")
_LONGEST_HEADER = 512

Row = dict[str, Any]


class Found(NamedTuple):
    """A URL to fetch: a page to read, or an item's media with the texts that stand beside it."""

    url: str
    kind: str
    page: str | None = None
    depth: int = 0
    fields: Mapping[str, str | None] = {}

    @property
    def key(self) -> tuple[str, str]:
        """One URL may be both a page and an item."""
        return self.kind, self.url


class Outcome(NamedTuple):
    """What came of one URL: its raw row, if it makes one, and the URLs that are new by it."""

    found: Found
    row: Row | None = None
    news: Sequence[Found] = ()


def kept(source: str, found: Found, response: Response) -> Row:
    """The row of a payload, byte for byte as the server sent it (after its content encoding)."""
    digest = keys.digest(response.body)
    return _row(source, found, response) | {
        "id": keys.row_id(source, found.url, digest),
        "digest": digest,
        "payload": response.body,
    }


def failed(source: str, found: Found, reason: Reason, response: Response | None = None) -> Row:
    """The row of a page or item that could not be had, with the evidence."""
    return _row(source, found, response) | {
        "id": keys.row_id(source, found.url, reason.error),
        "error": reason.error,
        "evidence": json.dumps(reason.evidence, sort_keys=True),
    }


def table(rows: Sequence[Row], texts: Sequence[str]) -> pa.Table:
    """Rows as a raw table: `schema.RAW`, then the text fields."""
    schema = pa.schema([*RAW, *((name, pa.string()) for name in texts)])
    return pa.Table.from_pylist(list(rows), schema=schema)


def _row(source: str, found: Found, response: Response | None) -> Row:
    return {
        "source": source,
        "url": found.url,
        "final_url": response.url if response else None,
        "page": found.page,
        "status": response.status if response else None,
        "headers": json.dumps(_headers(response) if response else {}, sort_keys=True),
        "fetched_at": datetime.now(UTC),
        **found.fields,
    }


def _headers(response: Response) -> dict[str, str]:
    """The headers that matter, and a link to a licence; long ones are cut, none of them is a secret."""
    got = {}
    for name in HEADERS:
        values = response.headers.getlist(name)
        if values:
            got[name] = b", ".join(values).decode("latin-1")[:_LONGEST_HEADER]
    for link in response.headers.getlist("link"):
        if b"license" in link and len(link) <= _LONGEST_HEADER:
            got["link"] = link.decode("latin-1")
    return got
