"""Files of one name belong together: media, and the texts beside it (0001.jpg, 0001.txt, 0001.json), as WebDataset
has it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Generic, TypeVar

from dsray.sources.rows import text_of

T = TypeVar("T")

PLACE = ("folder", "name", "path")
"""Texts that a file's name gives."""

_BESIDE = {"txt", "json", "cls"}
"""Extensions that are texts when media of the same name stands beside them."""

MOST_TEXT = 16 * 2**20
"""Bytes of one sidecar."""


@dataclass
class Sample(Generic[T]):
    """The files of one name."""

    key: str
    media: list[tuple[str, T]] = field(default_factory=list)
    beside: dict[str, T] = field(default_factory=dict)


def split(name: str, first: bool) -> tuple[str, str]:
    """(key, extension). WebDataset's keys end at the first dot of the last part, other files' at the last."""
    folder, slash, last = name.rpartition("/")
    start = last[1:]  # a dot in front begins a name
    stem, dot, extension = start.partition(".") if first else start.rpartition(".")
    if not dot:
        return name, ""
    return f"{folder}{slash}{last[0]}{stem}", extension.lower()


def extensions(texts: Mapping[str, str]) -> set[str]:
    """Sidecars that the recipe names: `txt`, and `json` of `json.caption`."""
    return {_parted(said)[0] for said in texts.values() if said not in PLACE}


def arrange(files: Iterable[tuple[str, T]], texts: Mapping[str, str], first: bool) -> list[Sample[T]]:
    """(name, file) pairs as samples, in order of appearance. Without media, a sample's texts belong to nothing."""
    named = extensions(texts)
    samples: dict[str, Sample[T]] = {}
    for name, file in files:
        key, extension = split(name, first)
        sample = samples.setdefault(key, Sample(key))
        if extension in named | _BESIDE and extension not in sample.beside:
            sample.beside[extension] = file
        else:
            sample.media.append((name, file))
    for sample in samples.values():
        if not sample.media:  # texts alone are the media, but for those that the recipe calls texts
            alone = [extension for extension in sample.beside if extension not in named]
            sample.media = [(f"{sample.key}.{extension}", sample.beside.pop(extension)) for extension in alone]
    return list(samples.values())


def fields(texts: Mapping[str, str], name: str, folder: str, beside: Mapping[str, bytes]) -> dict[str, str | None]:
    """The text fields of one media file. Raises ValueError when a sidecar is not what its extension says."""
    place = {"folder": folder or None, "name": PurePosixPath(name).name, "path": name}
    found: dict[str, str | None] = {}
    for column, said in texts.items():
        extension, *path = _parted(said)
        if said in PLACE:
            found[column] = place[said]
        elif extension not in beside:
            found[column] = None
        elif extension == "json":
            found[column] = text_of(_at(json.loads(beside[extension]), path))
        else:
            found[column] = beside[extension].decode().strip()
    return found


def _parted(said: str) -> list[str]:
    return said.split(".") if said.startswith("json.") else [said]


def _at(value: object, path: list[str]) -> object:
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value
