"""The report: one HTML file to judge a dataset by, with everything inside. Nothing is fetched and nothing is run.

Texts and URLs come from the crawled web, so they are hostile: Jinja escapes them, only http and https become links,
only bytes of a raster format are embedded, and the page's policy allows its own style and nothing else.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dsray.report import charts
from dsray.report.private import NOT_COVERED, UNIT, Private
from dsray.schema import ORIGINS, SPLITS

_HERE = Path(__file__).parent
_MOST_CLASSES = 60
_MAGIC = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif", b"RIFF": "webp"}


@dataclass(frozen=True)
class Stage:
    """One stage's account: rows in = kept + quarantined."""

    name: str
    rows_in: int
    kept: int
    quarantined: int = 0
    note: str = ""


@dataclass(frozen=True)
class Example:
    """A quarantined row: its picture if there is one, the value that failed, where it came from."""

    png: bytes | None = None
    value: str = ""
    url: str = ""


@dataclass(frozen=True)
class Rule:
    """Rows that one rule sent to quarantine; `share` is of all rows in."""

    rule: str
    count: int
    share: float
    threshold: str = ""
    examples: Sequence[Example] = ()
    back: Sequence[tuple[str, int]] = ()  # (looser threshold, rows that it would no longer drop)


@dataclass(frozen=True)
class Histogram:
    """A signal's distribution. `charts.bins` makes edges and counts from values."""

    name: str
    meaning: str
    edges: Sequence[float]
    kept: Sequence[int]
    quarantined: Sequence[int]
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Grid:
    """A model's samples, in the class order of the real grid."""

    model: str
    png: bytes | None
    caption: str = ""


@dataclass(frozen=True)
class Checkpoint:
    images: int
    grid: bytes | None


@dataclass(frozen=True)
class Curve:
    """A training run. A point holds `images` (seen so far), losses by name, and `images_per_s`."""

    model: str
    points: Sequence[Mapping[str, float]]
    checkpoints: Sequence[Checkpoint] = ()
    over_time: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    """What was measured of the checkpoints' samples: name → (images seen, value)."""
    turns: Sequence[str] = ()
    """Where it broke and turned back, in sentences."""


@dataclass(frozen=True)
class Walk:
    """A sheet of a model's interpolations, one a row."""

    model: str
    png: bytes | None


@dataclass(frozen=True)
class Nearest:
    """A model's most suspicious rows over their nearest training rows, with (d1/d2, distance) of each pair."""

    model: str
    png: bytes | None
    pairs: Sequence[tuple[float, float]]
    note: str = ""


@dataclass(frozen=True)
class Score:
    """A measured number. `limit` is the gate in words ('at least 0.85'); `passed` is None where there is no gate.
    `measured` says on how many rows and with what."""

    model: str
    name: str
    value: str
    reference: str = ""
    limit: str = ""
    passed: bool | None = None
    explanation: str = ""
    measured: str = ""


@dataclass(frozen=True)
class Report:
    """All that the page shows. Every part may be empty; its section is then left out."""

    dataset: str
    version: str
    created: str | None = None
    recipe: str = ""
    rows_in: int = 0
    kept: int = 0
    quarantined: int = 0
    augmented: int = 0
    synthetic: int = 0
    stages: Sequence[Stage] = ()
    quarantine: Sequence[Rule] = ()
    signals: Sequence[Histogram] = ()
    classes: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    """label → split → origin → rows"""
    real_grid: bytes | None = None
    grids: Sequence[Grid] = ()
    grid_classes: Sequence[str] = ()
    """Labels over the columns of every grid, where each column is one class."""
    training: Sequence[Curve] = ()
    walks: Sequence[Walk] = ()
    nearest: Sequence[Nearest] = ()
    scores: Sequence[Score] = ()
    accepted: str = ""
    """Why it was released although gates failed."""
    by_class: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    """label → what a classifier learned from → its accuracy on real held-out rows of the label"""
    private: Sequence[Private] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)


def render(report: Report) -> str:
    """The page as HTML text. The same report gives the same text."""
    css = (_HERE / "page.css").read_text(encoding="utf-8")
    gated = [s for s in report.scores if s.passed is not None]
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            r=report,
            css=css,
            style_hash=base64.b64encode(hashlib.sha256(css.encode()).digest()).decode(),
            story=_story(report),
            sections=_sections(report),
            gated=gated,
            failed=[s for s in gated if not s.passed],
            models=_once(s.model for s in report.scores),
            compared=_compared(report.scores),
            learned=_once(name for by in report.by_class.values() for name in by),
            unit=UNIT,
            not_covered=NOT_COVERED,
            splits=_ordered((split for by in report.classes.values() for split in by), SPLITS),
            origins=_ordered((o for by in report.classes.values() for n in by.values() for o in n), ORIGINS),
            classes=list(report.classes.items())[:_MOST_CLASSES],
            most_classes=_MOST_CLASSES,
            most={split: _largest(report, split) for by in report.classes.values() for split in by},
            widest=max((max(s.rows_in, s.kept + s.quarantined) for s in report.stages), default=0),
            most_quarantined=max((q.count for q in report.quarantine), default=0),
        )
    )


def link(url: str) -> str | None:
    """The URL if a person may follow it: http or https with a host, without blanks or control characters; else None."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    clean = url.isprintable() and " " not in url
    return url if clean and parts.scheme in ("http", "https") and parts.hostname else None


def data_uri(image: bytes | None) -> str | None:
    """A `data:` URI for PNG, JPEG, GIF or WebP bytes; None for anything else, SVG included."""
    kind = next((kind for magic, kind in _MAGIC.items() if image and image.startswith(magic)), None)
    if image is None or kind is None or (kind == "webp" and image[8:12] != b"WEBP"):
        return None
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "count": lambda n: f"{n:,}",
        "percent": _percent,
        "compact": charts.compact,
        "link": link,
        "data_uri": data_uri,
        "tail": _tail,
        "clip": _clip,
    }
    environment.globals |= {
        "histogram": charts.histogram,
        "lines": charts.lines,
        "bar": charts.bar,
        "parts": _parts,
        "panels": _panels,
        "speed": _speed,
    }
    return environment


def _story(r: Report) -> str:
    """The page in a sentence or two."""
    if not r.rows_in:
        return "No rows came in."
    fate = f"{r.kept:,} were kept and {r.quarantined:,} are in quarantine, each with its reason."
    story = f"Of {r.rows_in:,} rows that came in, {fate}"
    made = [f"{n:,} {origin}" for n, origin in ((r.augmented, "augmented"), (r.synthetic, "synthetic")) if n]
    if made:
        story += f" With {' and '.join(made)} rows the release holds {r.kept + r.augmented + r.synthetic:,}."
    return story


def _sections(r: Report) -> list[tuple[str, str, bool]]:
    """(anchor, name, whether the page has it), in the page's order."""
    return [
        ("samples", "Samples", bool(r.real_grid or r.grids)),
        ("walks", "Between", bool(r.walks)),
        ("nearest", "Nearest", bool(r.nearest)),
        ("scores", "Scores", bool(r.scores)),
        ("learned", "By class", bool(r.by_class)),
        ("privacy", "Privacy", bool(r.private)),
        ("rows", "Rows", bool(r.stages)),
        ("quarantine", "Quarantine", bool(r.quarantine)),
        ("signals", "Signals", bool(r.signals)),
        ("classes", "Classes", bool(r.classes)),
        ("training", "Training", bool(r.training)),
        ("provenance", "Made from", bool(r.provenance or r.recipe)),
    ]


def _compared(scores: Sequence[Score]) -> list[tuple[Score, bool, bool, list[Score | None]]]:
    """A row a score: (the first model's, whether all were measured alike, and as the row before, one a model)."""
    models = _once(s.model for s in scores)
    found: list[tuple[Score, bool, bool, list[Score | None]]] = []
    for name in _once(s.name for s in scores):
        by_model = {s.model: s for s in scores if s.name == name}
        first, alike = next(iter(by_model.values())), len({s.measured for s in by_model.values()}) == 1
        told = bool(found) and found[-1][1] and found[-1][0].measured == first.measured
        found.append((first, alike, told, [by_model.get(model) for model in models]))
    return found


def _once(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _ordered(names: Iterable[str], known: Sequence[str]) -> list[str]:
    """Each name once: the known ones first and in their order."""
    found = _once(names)
    return [n for n in known if n in found] + [n for n in found if n not in known]


def _largest(report: Report, split: str) -> int:
    return max((sum(by.get(split, {}).values()) for by in report.classes.values()), default=0)


def _parts(counts: Mapping[str, int], origins: Sequence[str]) -> list[tuple[str, int]]:
    """Bar parts in the legend's order. An origin is a CSS class there, so unknown ones get none."""
    return [(origin if origin in ORIGINS else "other", counts.get(origin, 0)) for origin in origins]


def _clip(text: str, size: int) -> str:
    return text if len(text) <= size else text[: size - 1] + "…"


def _percent(share: float) -> str:
    if 0 < share < 0.001:
        return "<0.1%"
    return f"{100 * share:.1f}%"


def _tail(url: str) -> str:
    """The last part of a URL's path: what tells rows of one site apart."""
    return url.split("?")[0].rstrip("/").rpartition("/")[2] or url


def _panels(curve: Curve) -> list[dict[str, list[tuple[float, float]]]]:
    """Losses grouped by size, each group's series for one line chart; the speed is told in words instead."""
    skip = ("images", "images_per_s")
    return [
        {name: [(p["images"], p[name]) for p in curve.points if name in p and "images" in p] for name in group}
        for group in charts.families(curve.points, skip)
    ]


def _speed(curve: Curve) -> str:
    speeds = [p["images_per_s"] for p in curve.points if p.get("images_per_s")]
    return f"{median(speeds):,.0f} images/s" if speeds else ""
