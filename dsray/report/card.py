"""The dataset card: README.md with the front matter that Hugging Face reads, and the numbers that a person asks for."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dsray.report.private import NOT_COVERED, UNIT, Private

_TASKS = {"image": "image-classification", "text": "text-classification", "audio": "audio-classification"}
_CONSENT = {"robots": "robots.txt forbids fetching them", "opted_out": "they carry an opt-out signal"}
_SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "1B<n<10B")


@dataclass(frozen=True)
class Card:
    """What the card says. Everything after `splits` may be empty; its section then says so or is left out."""

    dataset: str
    version: str
    features: Mapping[str, Mapping[str, Any]]
    """Column → Hugging Face feature: {"dtype": "string", "_type": "Value"}, {"_type": "Image"}, ..."""
    splits: Mapping[str, tuple[int, int]]
    """Split → (rows, bytes of its files). The files of a split are `<split>/*.parquet`."""
    rows: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Split → origin → rows; an origin is `real`, `augmented`, or the name of a model."""
    kind: str = "image"
    title: str = ""
    license: str = ""
    stages: Sequence[tuple[str, int, int, int]] = ()
    """(name, rows in, kept, quarantined)"""
    quarantine: Mapping[str, int] = field(default_factory=dict)
    thresholds: Mapping[str, str] = field(default_factory=dict)
    scores: Sequence[tuple[str, str, str, str, str, str]] = ()
    """(model, name, value, for comparison, gate, n and what it was measured with), in words"""
    refused: Sequence[str] = ()
    """Gates that failed, in words; a release has some only when it was `accepted`, which says why."""
    accepted: str = ""
    private: Sequence[Private] = ()
    learned: Sequence[str] = ()
    """Of models that learned from other rows than those of this release, in words."""
    path: str = ""
    """Where it lies, as a reader opens it: s3://bucket/prefix/releases/digits/v3."""
    limits: Sequence[str] = ()


def card(about: Card) -> str:
    """The card as Markdown with YAML front matter. The same numbers give the same text."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        finalize=_escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"count": lambda n: f"{n:,}", "percent": lambda share: f"{100 * share:.1f}%", "code": _code}
    origins: dict[str, int] = {}
    for by_origin in about.rows.values():
        for origin, count in by_origin.items():
            origins[origin] = origins.get(origin, 0) + count
    rows_in = about.stages[0][1] if about.stages else 0
    body = environment.get_template("card.md.j2").render(
        d=about,
        title=about.title or about.dataset,
        rows=sum(rows for rows, _ in about.splits.values()),
        origins=origins,
        models=[origin for origin in origins if origin not in ("real", "augmented")],
        quarantined=sum(about.quarantine.values()),
        rows_in=rows_in,
        classes=next((f["names"] for f in about.features.values() if f.get("_type") == "ClassLabel"), []),
        media=next((name for name, f in about.features.items() if f.get("_type") in ("Image", "Audio")), ""),
        consent=[(count, _CONSENT[rule]) for rule, count in about.quarantine.items() if rule in _CONSENT and count],
        unit=UNIT,
        not_covered=NOT_COVERED,
        path=about.path or f"releases/{about.dataset}/{about.version}",
    )
    matter = yaml.safe_dump(front_matter(about), sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{matter}---\n\n{body}"


def front_matter(about: Card) -> dict[str, Any]:
    """The YAML part as plain data: https://github.com/huggingface/hub-docs/blob/main/datasetcard.md."""
    size = sum(size for _, size in about.splits.values())
    labelled = any(feature.get("_type") == "ClassLabel" for feature in about.features.values())
    synthetic = any(origin not in ("real", "augmented") for by in about.rows.values() for origin in by)
    return {
        "pretty_name": about.title or about.dataset,
        **_license(about.license),
        **({"task_categories": [_TASKS[about.kind]]} if labelled and about.kind in _TASKS else {}),
        "size_categories": [size_category(sum(rows for rows, _ in about.splits.values()))],
        "tags": ["dsray", *(["synthetic"] if synthetic else [])],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"{split}/*.parquet"} for split in about.splits],
            }
        ],
        "dataset_info": {
            "features": _listed(about.features),
            "splits": [{"name": n, "num_bytes": b, "num_examples": rows} for n, (rows, b) in about.splits.items()],
            "download_size": size,
            "dataset_size": size,
        },
    }


def size_category(rows: int) -> str:
    """Hugging Face's name for a number of rows: 12,000 → '10K<n<100K'."""
    return _SIZES[min(max(len(str(rows)) - 3, 0), len(_SIZES) - 1)]


def _listed(features: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": name, **_spelt(feature)} for name, feature in features.items()]


def _spelt(feature: Mapping[str, Any]) -> dict[str, Any]:
    """A feature as the front matter spells it."""
    kind = feature.get("_type")
    if kind is None:
        return {"struct": _listed(feature)}
    if kind == "List":
        inner = _spelt(feature["feature"])
        length = {"length": feature["length"]} if "length" in feature else {}
        return {"list": inner.get("struct") or (inner["dtype"] if list(inner) == ["dtype"] else inner), **length}
    if kind == "Value":
        return {"dtype": str(feature["dtype"])}
    if kind == "ClassLabel":
        return {"dtype": {"class_label": {"names": {str(i): name for i, name in enumerate(feature["names"])}}}}
    if kind.startswith("Array"):
        said = {name: value for name, value in feature.items() if name != "_type"}
        return {"dtype": {f"array{kind[5]}_d": said}}
    return {"dtype": str(kind).lower()}


def _license(name: str) -> dict[str, str]:
    """Identifiers are lower-case there; anything else is 'other' with its name."""
    if not name:
        return {}
    return {"license": name.lower()} if re.fullmatch(r"[\w.+-]+", name) else {"license": "other", "license_name": name}


def _escape(value: Any) -> Any:
    """Text into a line of Markdown as it is: no HTML, no links, no emphasis, no new table cell or line."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    flat = " ".join(value.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*\[\]|~#]|(?<!\w)_|_(?!\w))", r"\\\1", flat)


def _code(text: str) -> Markup:
    """Text inside a string or a span of code: without what could end either."""
    return Markup(re.sub(r"[`\"\\<>\s]", "", text))
