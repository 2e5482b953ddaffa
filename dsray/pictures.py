"""A release as plain PNG files: split/label/id.png, split/metadata.csv, and a sheet of samples of each origin.

`datasets.load_dataset("imagefolder", data_dir=...)` reads it, and so does everything else that takes folders.
"""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dsray import keys
from dsray.dataset import Version, keep
from dsray.errors import DsrayError
from dsray.kinds import Kind, kind
from dsray.lake import shards
from dsray.report.grid import grid

_PNG = b"\x89PNG\r\n\x1a\n"
_BATCH = 1000  # rows at a time
_SHEET_ROWS = 6
_LONGEST = 150  # bytes of a folder's name
_FIRST = ("file_name", "split", "label", "origin")


def export(version: Version, folder: Path) -> list[Path]:
    """Writes the files, and returns them. What is there already and the same is kept.

    Raises DsrayError for a kind whose samples are no images.
    """
    of_kind = kind(version.manifest["kind"])
    if of_kind.FEATURE.get("_type") != "Image":
        raise DsrayError(
            f"{version.dataset}@v{version.number} holds samples of the kind {version.manifest['kind']}, which are no "
            "images.",
            "Leave --format out: Parquet holds every kind.",
        )
    written: list[Path] = []
    sheets = _Sheets(version.manifest["classes"])
    tables: dict[str, _Table] = {}
    for origin, row, png in _rows(version, of_kind):
        written.append(keep(folder / row["split"] / row["file_name"], png))
        sheets.add(origin, row["label"], png)
        tables.setdefault(row["split"], _Table()).add(row)
    written += [keep(folder / "grids" / f"{origin}.png", sheet) for origin, sheet in sheets.made()]
    return written + [keep(folder / split / "metadata.csv", table.text()) for split, table in tables.items()]


def _rows(version: Version, of_kind: Kind) -> Iterator[tuple[str, dict[str, Any], bytes]]:
    """(real, augmented or a model, what is known of a sample, the sample as PNG) of every row."""
    classes = version.manifest["classes"]
    receipts = version.shards()
    for receipt, table in zip(receipts, shards.each(version.store, receipts), strict=True):
        split, file = receipt.name.removeprefix(version.prefix).split("/")
        for batch in table.to_batches(max_chunksize=_BATCH):
            for row in batch.to_pylist():
                media = row.pop(of_kind.COLUMN)["bytes"]
                row.pop("tensor", None)
                label = None if row["label"] is None else classes[row["label"]]
                name = f"{folder_of(label)}/{row['id']}.png"
                yield (
                    file.split("-")[0],
                    {**row, "file_name": name, "split": split, "label": label},
                    _png(media, of_kind),
                )


def folder_of(label: str | None) -> str:
    """A label as the name of a folder on any system; two labels never share one."""
    if label is None:
        return "unlabelled"
    name = re.sub(r'[/\\:*?"<>|%\x00-\x1f\x7f]|^[. ]|[. ]$|^$', lambda odd: f"%{ord(odd[0] or '_'):02X}", label)
    if len(name.encode()) > _LONGEST:
        name = name.encode()[:_LONGEST].decode(errors="ignore") + "%" + keys.digest(label.encode())[:8]
    return name


def _png(media: bytes, of_kind: Kind) -> bytes:
    """The sample's own bytes where they are PNG already."""
    return media if media.startswith(_PNG) else of_kind.from_arrays(of_kind.to_arrays([media]))[0]


class _Sheets:
    """The first samples of each origin, a column a class."""

    def __init__(self, classes: list[str]) -> None:
        self.classes: list[str | None] = [*classes] or [None]
        self.found: dict[str, dict[str | None, list[bytes]]] = {}

    def add(self, origin: str, label: str | None, png: bytes) -> None:
        columns = self.found.setdefault(origin, {one: [] for one in self.classes})
        if label in columns and len(columns[label]) < _SHEET_ROWS:
            columns[label].append(png)

    def made(self) -> Iterator[tuple[str, bytes]]:
        for origin, columns in self.found.items():
            rows = max(map(len, columns.values()))
            if rows:
                cells = [
                    column[row] if row < len(column) else b"" for row in range(rows) for column in columns.values()
                ]
                yield origin, grid(cells, len(columns))


class _Table:
    """metadata.csv: a line a sample; what is no plain value is JSON."""

    def __init__(self) -> None:
        self.out = io.StringIO()
        self.writer: csv.DictWriter[str] | None = None

    def add(self, row: dict[str, Any]) -> None:
        if self.writer is None:
            names = [*_FIRST, *(name for name in row if name not in _FIRST)]
            self.writer = csv.DictWriter(self.out, names, lineterminator="\n")
            self.writer.writeheader()
        self.writer.writerow({name: json.dumps(v) if isinstance(v, list | dict) else v for name, v in row.items()})

    def text(self) -> bytes:
        return self.out.getvalue().encode()
