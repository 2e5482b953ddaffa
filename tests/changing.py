"""A small source that changes, the recipes that a test may ask of it, and what a build of it must always hold."""

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dsray import build
from dsray import recipe as recipes
from dsray.engine import shards as engine
from dsray.errors import DsrayError
from dsray.lake import refs, shards
from dsray.lake.manifests import conserved
from dsray.sources import files
from rows import drawing, png
from runs import Silent

GROUP_FILES = 32
"""Files of a raw shard at most: a folder of few files is several shards."""

CHOICES: dict[str, tuple[Any, ...]] = {
    "seed": (1, 2),
    "blur": (None, 2_000.0, 9_000.0),
    "dark": (None, 0.85),
    "bright": (None, 0.9),
    "unlabelled": (True, False),
    "contrast": (None, 1.5),
    "radius": (None, 2, 8),
    "orientations": (False, True),
    "cap_label": (None, 3, 6),
    "cap_source": (None, 9),
    "balance": (None, 1.5),
    "weights": (None, 0.5),
    "by": ("cluster", "group", "source", "page"),
    "stratify": (False, True),
    "labellers": (("pattern",), ("file", "pattern"), ("pattern", "rule"), ("file", "pattern", "rule")),
    "combine": ("precedence", "majority", "model"),
    "signals": ((), ("ink",), ("ink", "middle")),
    "ink": (None, 60.0),
    "side": (12, 16),
    "copies": (1, 0, 2),
    "even": (None, 3),
    "policy": (None, {"0": {"copies": 3}}, {"1": {"rotate": 40}}),
    "rotate": (0, 15),
    "mixup": (0, 0.5),
    "values": ("bytes", "standard"),
    "tensor": (False, True),
    "shard_mb": (64, 0.002, 0.0005),
}
"""Setting → what it may be; the first is how a recipe begins."""


def payload(number: int) -> bytes:
    """Few numbers, so that bytes come again; some pictures differ in a pixel, some are broken."""
    if number % 17 == 16:
        return png(drawing(number, 20))[:50]
    pixels = drawing(number // 2, 20)
    if number % 2:
        pixels[0, 0] ^= 8
    return png(pixels)


class World:
    """A folder of pictures with captions beside them, three tables, and a file of labels."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.labels: dict[str, str] = {"p0": "0"}
        for number in range(14):
            self.picture(number, number)
        for table in range(3):
            self.table(table, [(20 + 4 * table + row, row) for row in range(4)])
        self.label("p1", "2")

    def picture(self, name: int, number: int) -> None:
        path = self.root / "pictures" / "abc"[name % 3] / f"p{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(payload(number))
        path.with_suffix(".txt").write_text(f"digit {number % 3}" if number % 5 else "nothing")

    def remove(self, name: int) -> None:
        for path in (self.root / "pictures").glob(f"*/p{name}.*"):
            path.unlink()

    def table(self, table: int, rows: list[tuple[int, int]]) -> None:
        """(payload, caption) of each row."""
        columns = {
            "image": pa.array([payload(number) for number, _ in rows], pa.binary()),
            "caption": pa.array([f"digit {said % 4}" for _, said in rows], pa.string()),
            "group": pa.array(["abc"[said % 3] if said % 4 else None for _, said in rows], pa.string()),
        }
        out = io.BytesIO()
        pq.write_table(pa.table(columns), out, row_group_size=3)
        path = self.root / "tables" / f"t{table}.parquet"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(out.getvalue())

    def label(self, name: str, label: str | None) -> None:
        self.labels |= {name: label or ""}
        with (self.root / "labels.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("path", "label"), *((f"{n}.png", said) for n, said in self.labels.items())])

    def recipe(self, said: dict[str, Any]) -> recipes.Recipe:
        ways = {
            "pattern": {"pattern": {"column": "caption", "regex": "digit (\\d)"}},
            "file": {"file": {"path": str(self.root / "labels.csv")}},
            "rule": {"rule": {"function": "labellers:bright"}},
        }
        drop = {
            "blur": _range(max=said["blur"]), "dark": _range(max_quantile=said["dark"]),
            "brightness": _range(max_quantile=said["bright"]),
            "ink": _range(min=said["ink"]) if "ink" in said["signals"] else None,
        }  # fmt: skip
        cap = {"label": said["cap_label"], "source": said["cap_source"]}
        select = {
            "drop": {"unlabelled": said["unlabelled"], **_some(drop)},
            "outliers": {"signals": {"contrast": said["contrast"]}} if said["contrast"] else None,
            "duplicates": {"radius": said["radius"], "orientations": said["orientations"]},
            "cap": _some(cap) or None,
            "balance": {"ratio": said["balance"]} if said["balance"] else None,
            "weights": {"power": said["weights"]} if said["weights"] else None,
            "split": {"by": said["by"], "stratify": said["stratify"], "train": 0.6, "validation": 0.2, "test": 0.2},
        }
        augment = {name: said[name] for name in ("copies", "even", "rotate", "mixup")}
        whole = {
            "dataset": "changing",
            "seed": said["seed"],
            "collect": {
                "pictures": {"files": {"path": str(self.root / "pictures"), "include": ["**.png"],
                                       "texts": {"caption": "txt", "group": "folder"}}},
                "tables": {"files": {"path": str(self.root / "tables"), "media": "image",
                                     "texts": {"caption": "caption", "group": "group"}}},
            },
            "measure": {"signals": {name: f"measured:{name}" for name in said["signals"]}},
            "label": [ways[name] for name in said["labellers"]],
            "combine": said["combine"],
            "select": _some(select),
            "render": {"side": said["side"], "mode": "L"},
            "augment": _some({**augment, "classes": said["policy"]}),
            "synthesize": said.get("synthesize", {}),
            "release": {name: said[name] for name in ("values", "tensor", "shard_mb")},
        }  # fmt: skip
        return recipes.parse(json.dumps(whole))


def _range(**said: Any) -> dict[str, Any] | None:
    return _some(said) or None


def _some(said: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if value is not None}


@contextmanager
def small_shards() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "GROUP_FILES", GROUP_FILES)
        yield


@contextmanager
def watched() -> Iterator[list[str]]:
    """The names of the shards that are made in here, also of those that stand."""
    names: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        make = engine._made
        patch.setattr(engine, "_made", lambda work, store, fn: (names.append(work["name"]), make(work, store, fn))[1])
        yield names


def release_of(made: dict[str, Any]) -> dict[str, str]:
    """Name within the release → SHA-256 of each shard."""
    prefix = made["release"].details["prefix"]
    return {receipt.name.removeprefix(prefix): receipt.digest for receipt in made["release"].shards}


def outcome(recipe: recipes.Recipe, store: Any, recrawl: str | None = None) -> Any:
    """What a build comes to: its manifests, or the sentence that refuses it."""
    try:
        return build.run(recipe, store, Silent(), recrawl=recrawl).made
    except DsrayError as error:
        return str(error)


def crawl_number(store: Any) -> int:
    return int((refs.get(store, "builds/changing")[0] or {}).get("crawl", 0))


def holds(made: dict[str, Any], store: Any) -> None:
    """Rows are conserved at every stage, and the release has each kept row once, and its copies."""
    for manifest in made.values():
        conserved(manifest.stage, manifest.counts)
    whole = made["collect"].counts["in"]
    assert {made[name].counts["in"] for name in ("measure", "render", "label", "select")} == {whole}
    verdicts = _table(store, made["select"].shards, ["id", "kept", "rule", "cluster", "split"])
    kept = {row["id"]: row for row in verdicts if row["kept"]}
    assert all((row["rule"] is None) == row["kept"] for row in verdicts)
    rows = _table(store, made["release"].shards, ["id", "origin", "parent"])
    real = [row["id"] for row in rows if row["origin"] == "real"]
    lost = made["gather"].counts["quarantined"]
    assert len(real) == len(set(real)) == len(kept) - lost and set(real) <= kept.keys()
    train = {name for name, row in kept.items() if row["split"] == "train"}
    assert {row["parent"] for row in rows if row["parent"]} <= train
    assert len({row["id"] for row in rows}) == len(rows) == made["release"].counts["kept"]


def _table(store: Any, receipts: list[Any], columns: list[str]) -> list[dict[str, Any]]:
    return [row for receipt in receipts for row in shards.read(store, receipt, columns).to_pylist()]
