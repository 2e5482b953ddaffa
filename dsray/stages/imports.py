"""Files of labels: read once, in the driver, and matched with the rows that they are about.

A shard is given the labels of its own rows only, so one edited label makes one shard again.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import pyarrow as pa

from dsray import keys
from dsray.errors import SourceError
from dsray.labelling import LabelFile
from dsray.labels.forms import Fields, Said, Sheet
from dsray.labels.read import read
from dsray.lake import folder
from dsray.lake import shards as lake_shards
from dsray.lake.folder import UNREADABLE, File
from dsray.lake.shards import Receipt
from dsray.lake.store import Store

Given = dict[str, dict[str, list[list[Any]]]]
"""Labeller's index → row id → [annotator, label, confidence, objects] of each label: JSON for one shard."""


class Import(NamedTuple):
    """A file of labels as it was read."""

    digest: str
    sheet: Sheet


def load(config: LabelFile) -> Import:
    """Reads and parses the file, once while it does not change. Raises SourceError."""
    return _load(_file(config.path), config)


@lru_cache(maxsize=16)
def _load(file: File, config: LabelFile) -> Import:
    with folder.reader(file) as stream:
        data = stream.read()
    fields = Fields(config.by, config.key, config.label, config.confidence, config.source)
    return Import(keys.digest(data), read(data, file.name, config.format, fields))


def _file(path: str) -> File:
    url = folder.absolute(path)
    try:
        found = folder.listing(path)
    except SourceError as error:
        raise SourceError(f"There is no file of labels at {url}.", "Correct the labeller's `path`.") from error
    if [file.url for file in found] != [url]:
        raise SourceError(f"{url} is a folder, not a file of labels.", "Name one file.")
    if found[0].stamp == UNREADABLE:
        raise SourceError(f"{url} cannot be read.", "Give dsray the right to read it.")
    return found[0]


@dataclass
class Matched:
    """What the files say, by shard, and what of it concerns no row."""

    given: list[Given]
    told: dict[str, dict[str, int]]  # labeller's name → labels, matched and unmatched keys, repeated keys


def match(files: Mapping[int, LabelFile], names: list[str], raws: list[Receipt], store: Store) -> Matched:
    """The labels of each raw shard's rows. Reads the rows' ids and what the files name them by, nothing else."""
    if not files:
        return Matched([{} for _ in raws], {})
    sheets = {at: load(config).sheet for at, config in files.items()}
    indexes = {at: index(sheet) for at, sheet in sheets.items()}
    columns = sorted({"id", *("url" if sheet.by == "path" else sheet.by for sheet in sheets.values())})

    def of_shard(raw: Receipt) -> tuple[Given, dict[int, set[str]]]:
        rows = lake_shards.read(store, raw, columns)
        found = {at: about(rows, sheets[at].by, indexes[at]) for at in sheets}
        given = {str(at): _json(said) for at, said in found.items() if said}
        return given, {at: {one.key for says in said.values() for one in says} for at, said in found.items()}

    with ThreadPoolExecutor(16) as pool:
        matched = list(pool.map(of_shard, raws))
    told = {}
    for at, sheet in sheets.items():
        known: set[str] = set().union(*(keys_of[at] for _, keys_of in matched))
        every = {one.key for one in sheet.said}
        told[names[at]] = {
            "labels": len(sheet.said), "matched": len(known), "unmatched": len(every) - len(known),
            "repeated": len(sheet.said) - len({(one.key, one.who) for one in sheet.said}),
        }  # fmt: skip
    return Matched([given for given, _ in matched], told)


def index(sheet: Sheet) -> dict[str, list[Said]]:
    """Key → what is said of it; a path by its last part."""
    found: dict[str, list[Said]] = {}
    for one in sheet.said:
        found.setdefault(one.key.rpartition("/")[2] if sheet.by == "path" else one.key, []).append(one)
    return found


def about(rows: pa.Table, by: str, known: Mapping[str, list[Said]]) -> dict[str, list[Said]]:
    """Row id → what is said of the row, in the order of the file."""
    found: dict[str, list[Said]] = {}
    ids = rows["id"].to_pylist()
    for row, key in zip(ids, rows["url" if by == "path" else by].to_pylist(), strict=True):
        if key is None:
            continue
        path = _path(key) if by == "path" else ""
        said: Iterable[Said] = known.get(path.rpartition("/")[2] if by == "path" else key, ())
        if by == "path":
            said = [one for one in said if f"/{path}".endswith(f"/{one.key.lstrip('/')}")]
        if said:
            found[row] = list(said)
    return found


def _path(url: str) -> str:
    """The path of a URL; of a file in an archive, the archive's and its own."""
    parts = urlsplit(url)
    return unquote(f"{parts.path}/{parts.fragment}".rstrip("/"))


def _json(said: Mapping[str, list[Said]]) -> dict[str, list[list[Any]]]:
    return {row: [[one.who, one.label, one.confidence, one.objects] for one in says] for row, says in said.items()}
