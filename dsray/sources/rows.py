"""Raw rows of a source: what was read, or why it could not be. Nothing here depends on when it is run."""

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any

import pyarrow as pa

from dsray import keys
from dsray.errors import DsrayError, LakeError
from dsray.schema import RAW

Row = dict[str, Any]

MOST_BYTES = 2**30
"""Of one payload. What is larger is a row that says so."""

_AT_ONCE = 256  # rows: turned into Arrow so often, so that payloads are not held twice
_LONGEST = 500  # characters of evidence


def good(
    source: str,
    url: str,
    payload: bytes,
    texts: Mapping[str, str | None],
    when: datetime | None = None,
    at: str | None = None,
) -> Row:
    """The row of a payload. `at` makes it unique when `url` may come again."""
    digest = keys.digest(payload)
    row = {"id": keys.row_id(source, at or url, digest), "source": source, "url": url, "headers": "{}"}
    return {**row, "fetched_at": when, "digest": digest, "payload": payload, **texts}


def bad(
    source: str,
    url: str,
    signal: str,
    value: object,
    when: datetime | None = None,
    at: str | None = None,
    error: str = "invalid",
) -> Row:
    """The row of a record that cannot be read, with the evidence: which signal, what was seen, and where."""
    evidence = json.dumps({"signal": signal, "value": str(value)[:_LONGEST], "where": at or url}, sort_keys=True)
    row = {"id": keys.row_id(source, at or url, error, evidence), "source": source, "url": url, "headers": "{}"}
    return {**row, "fetched_at": when, "error": error, "evidence": evidence}


def table(rows: Iterable[Row], texts: Iterable[str]) -> pa.Table:
    """Rows as a raw table: `schema.RAW`, then the text fields, sorted."""
    schema = pa.schema([*RAW, *((name, pa.string()) for name in sorted(texts))])
    batches = [pa.RecordBatch.from_pylist(part, schema=schema) for part in _parts(iter(rows))]
    return pa.Table.from_batches(batches, schema=schema)


def _parts(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while part := list(islice(rows, _AT_ONCE)):
        yield part


def damage(error: Exception) -> str:
    """What is wrong with bytes that raised `error`, in a word. Storage that fails is not damage: that is raised."""
    if isinstance(error, DsrayError):
        raise error
    storage = isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile)
    if storage and (getattr(error, "errno", None) is not None or "AWS Error" in str(error)):
        raise LakeError(f"A source could not be read to its end: {str(error)[:200]}.", "Run again.") from error
    return "truncated" if isinstance(error, EOFError) else type(error).__name__


def text_of(value: Any) -> str | None:
    """A text field: text as it is, bytes as UTF-8, lists and the like as JSON. Raises ValueError."""
    if value is None or isinstance(value, str):
        if value is not None:
            value.encode()  # a lone surrogate is no text
        return value
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, bool | list | dict):
        return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return str(value)
