"""What is read from a file of labels, and what is shown to a person who labels: the same for every format."""

import re
from typing import Any, NamedTuple, NoReturn

from dsray.errors import SourceError

Object = dict[str, Any]
"""Something marked in a sample, as schema.OBJECT: pixels of the upright image."""

_ROW_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")


class Fields(NamedTuple):
    """Where a file says what; None: the format's own place."""

    by: str | None = None  # id, url, path or digest
    key: str | None = None
    label: str = "label"
    confidence: str | None = None
    source: str | None = None


class Said(NamedTuple):
    """What one annotator said of what a key names."""

    key: str
    who: str  # empty when the file does not tell
    label: str | None
    confidence: float  # 0 to 1
    objects: list[Object] | None  # None: nothing said; empty: looked at, and nothing there


class Sheet(NamedTuple):
    """All that a file says, in its order, and which column of a row its keys are."""

    by: str
    said: tuple[Said, ...]


class Shown(NamedTuple):
    """A row for a person to label."""

    id: str
    file: str  # where its media lies, below the folder
    url: str
    page: str
    width: int | None  # pixels, upright
    height: int | None
    label: str | None
    confidence: float | None
    votes: list[dict[str, Any]]
    objects: list[Object]


def row_id_in(name: str) -> str | None:
    """The row id that a file's name holds, as those of an export do."""
    found = _ROW_ID.findall(name.rpartition("/")[2])
    return found[-1] if found else None


def wrong(name: str, where: str, what: str, do: str = "Correct the file.") -> NoReturn:
    """Raises SourceError: which file, which line or entry, what is wrong."""
    raise SourceError(f"{name}, {where}: {what}." if where else f"{name}: {what}.", do)


def number(value: Any, name: str, where: str, what: str) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < float("inf"):
        wrong(name, where, f"{what} is {value!r}, not a number")
    return float(value)


def confidence(value: Any, name: str, where: str) -> float:
    """A number from 0 to 1; nothing said is sure."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return 1.0
    try:
        said = float(value)
    except (TypeError, ValueError):
        said = -1.0
    if not 0 <= said <= 1:
        wrong(name, where, f"the confidence is {value!r}, not a number from 0 to 1")
    return said


def outline(polygon: list[float]) -> Object:
    """The box of x, y, x, y, ..., with the polygon."""
    x, y = polygon[0::2], polygon[1::2]
    return {"x": min(x), "y": min(y), "width": max(x) - min(x), "height": max(y) - min(y), "polygon": polygon}


def area(polygon: list[float]) -> float:
    """Of a polygon, by the shoelace formula."""
    x, y = polygon[0::2], polygon[1::2]
    return abs(sum(x[i - 1] * y[i] - x[i] * y[i - 1] for i in range(len(x)))) / 2
