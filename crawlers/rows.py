"""What a fetch makes: outcomes of URLs, and the raw rows of those that make one."""

import json
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa
from scrapy.http import Response

from crawlers.known import Known, moment
from crawlers.refused import Reason
from dsray import keys
from dsray.schema import RAW

HEADERS = ("content-type", "content-length", "etag", "last-modified", "x-robots-tag", "tdm-reservation")
_LONGEST_HEADER = 512

LICENCE = "licence"
"""Key among a record's fields that is no text of the recipe's, but a column of its own."""

Row = dict[str, Any]


class Outcome(NamedTuple):
    """What came of one URL: its record as it is now, its raw row, if it makes one, and the URLs found by it."""

    known: Known
    row: Row | None = None
    news: Sequence[Known] = ()
    warc: bytes = b""


def kept(source: str, known: Known, response: Response) -> Row:
    """The row of a payload, byte for byte as the server sent it (after its content encoding)."""
    digest = keys.digest(response.body)
    return _row(source, known, response) | {
        "id": keys.row_id(source, known.url, digest),
        "digest": digest,
        "payload": response.body,
    }


def failed(source: str, known: Known, reason: Reason, response: Response | None = None) -> Row:
    """The row of a page or item that could not be had, with the evidence."""
    return _row(source, known, response) | {
        "id": keys.row_id(source, known.url, reason.error),
        "error": reason.error,
        "evidence": json.dumps(reason.evidence, sort_keys=True),
    }


def withdrawn(source: str, known: Known, error: str, evidence: str) -> Row:
    """The row of an item that no page gives any more, or never did."""
    return _row(source, known, None) | {
        "id": keys.row_id(source, known.url, error),
        "error": error,
        "evidence": evidence,
    }


def table(rows: Sequence[Row], texts: Sequence[str]) -> pa.Table:
    """Rows as a raw table: `schema.RAW`, then the text fields."""
    schema = pa.schema([*RAW, *((name, pa.string()) for name in texts)])
    return pa.Table.from_pylist(list(rows), schema=schema)


def _row(source: str, known: Known, response: Response | None) -> Row:
    return {
        "source": source,
        "url": known.url,
        "final_url": response.url if response else None,
        "page": known.page,
        "status": response.status if response else None,
        "headers": json.dumps(_headers(response) if response else {}, sort_keys=True),
        "fetched_at": moment(time.time()),
        **known.texts,
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
