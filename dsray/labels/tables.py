"""Labels in a table, CSV or JSON lines: a line each label."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

from dsray.labels.forms import Fields, Said, Sheet, confidence, wrong

_OFFERS = ("id", "url", "digest", "path")
"""Columns that tell by themselves what the key is, the surest first."""


def read_csv(data: bytes, name: str, fields: Fields) -> Sheet:
    """A table with a header; commas, or tabs or semicolons when the header has them. Raises SourceError."""
    text = _text(data, name)
    header = text.partition("\n")[0]
    comma = max(",\t;", key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=comma, strict=True)
    try:
        columns = [column or "" for column in reader.fieldnames or ()]
        by, key = _key(columns, name, fields)
        lines = ((f"line {reader.line_num}", row) for row in reader)
        said = tuple(one for where, row in lines if (one := _said(_whole(row, name, where), name, where, key, fields)))
    except csv.Error as error:
        wrong(name, f"line {reader.reader.line_num}", f"not CSV: {error}")
    return Sheet(by, said)


def read_jsonl(data: bytes, name: str, fields: Fields) -> Sheet:
    """An object a line. Raises SourceError."""
    rows = list(_objects(_text(data, name), name))
    columns = list(dict.fromkeys(column for _, row in rows for column in row))
    by, key = _key(columns, name, fields)
    return Sheet(by, tuple(one for where, row in rows if (one := _said(row, name, where, key, fields))))


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        wrong(name, f"byte {error.start}", "not UTF-8 text")


def _objects(text: str, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for at, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            wrong(name, f"line {at}", f"not JSON: {error}")
        if not isinstance(row, dict):
            wrong(name, f"line {at}", "not a JSON object")
        yield f"line {at}", row


def _key(columns: list[str], name: str, fields: Fields) -> tuple[str, str]:
    """(what the key is, its column); every column that the recipe names must be there."""
    by = fields.by or (fields.key if fields.key in _OFFERS else None)
    if not (by or fields.key):
        by = next((offer for offer in _OFFERS if offer in columns), None)
    there = f"it has: {', '.join(columns) or 'none'}"
    if by is None:
        wrong(name, "", f"no column says which row a label is for; {there}",
              "Name the column as `key` and what it is as `by`: id, url, path or digest.")  # fmt: skip
    key = fields.key or by
    for column in (key, fields.label, fields.confidence, fields.source):
        if column and column not in columns:
            wrong(name, "", f"there is no column '{column}'; {there}", "Name the right one in the recipe.")
    return by, key


def _whole(row: dict[str | Any, Any], name: str, where: str) -> dict[str, Any]:
    if None in row:
        wrong(name, where, "more cells than the header has")
    if None in row.values():
        wrong(name, where, "fewer cells than the header has")
    return row


def _said(row: Mapping[str, Any], name: str, where: str, key: str, fields: Fields) -> Said | None:
    label = _cell(row.get(fields.label), name, where, fields.label)
    if not label:
        return None
    named = _cell(row.get(key), name, where, key)
    if not named:
        wrong(name, where, f"'{key}' is empty")
    sure = confidence(row.get(fields.confidence), name, where) if fields.confidence else 1.0
    who = _cell(row.get(fields.source), name, where, fields.source) if fields.source else ""
    return Said(named, who, label, sure, None)


def _cell(value: Any, name: str, where: str, column: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        wrong(name, where, f"'{column}' is {json.dumps(value)[:40]}, not a text or number")
    return str(value).strip()
