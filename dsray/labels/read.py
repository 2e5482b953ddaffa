"""A file of labels, whatever its format."""

import json

from dsray.labels import coco, studio, tables
from dsray.labels.forms import Fields, Sheet, wrong

READERS = {"csv": tables.read_csv, "jsonl": tables.read_jsonl, "coco": coco.read, "label-studio": studio.read}

_ENDINGS = {"csv": "csv", "tsv": "csv", "jsonl": "jsonl", "ndjson": "jsonl"}


def read(data: bytes, name: str, format_: str | None, fields: Fields) -> Sheet:
    """What it says. `name` stands for the file in errors. Raises SourceError: the file, the line or entry, and why."""
    return READERS[format_ or guess(data, name)](data, name, fields)


def guess(data: bytes, name: str) -> str:
    """The format, by the ending, and of JSON by the content: a list of tasks, or an object with images."""
    ending = name.rpartition(".")[2].lower()
    if ending in _ENDINGS:
        return _ENDINGS[ending]
    if data.lstrip()[:1] == b"[":
        return "label-studio"
    if ending == "json":
        try:
            found = json.loads(data)
        except (ValueError, RecursionError) as error:
            wrong(name, "", f"not JSON: {error}")
        if isinstance(found, dict) and "images" in found:
            return "coco"
    return wrong(name, "", "its format cannot be told", f"Name it as `format`: {', '.join(READERS)}.")
