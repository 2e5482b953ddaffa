"""Archives: tar (WebDataset's samples for one), tar.gz and zip. Read in place, never unpacked to disk.

A large archive is more than one piece: each reads the whole list of members and takes the samples that a hash gives it.
"""

import gzip
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import PurePosixPath
from typing import IO, NamedTuple, cast
from urllib.parse import quote

from dsray import keys
from dsray.collection import Files
from dsray.lake import folder
from dsray.lake.folder import UNREADABLE, File
from dsray.sources.piece import Piece, files_of, of_files
from dsray.sources.rows import MOST_BYTES, Row, bad, damage, good
from dsray.sources.samples import MOST_TEXT, arrange, fields, split

_TAR, _TAR_GZ, _ZIP = (".tar",), (".tar.gz", ".tgz"), (".zip",)
PART_BYTES = 256 * 2**20
"""Of the archive, that one piece should bring."""
MOST_MEMBERS = 2_000_000
MOST_UNPACKED = 2 * 2**30
"""Bytes that one piece unpacks; what comes after is rows that say so."""


class Member(NamedTuple):
    """One file in an archive. `read` gives its bytes; `odd` says why it cannot be one."""

    name: str
    size: int
    read: Callable[[], bytes]
    odd: str = ""


def reads(name: str) -> bool:
    return name.lower().endswith(_TAR + _TAR_GZ + _ZIP)


def pieces(file: File) -> list[Piece]:
    """The archive in parts of about PART_BYTES."""
    parts = max(1, -(-file.size // PART_BYTES))
    return [of_files("archives", [file], part=part, parts=parts) for part in range(parts)]


def rows(piece: Piece, source: str, config: Files) -> Iterator[Row]:
    """A row each media member, a row each that cannot be read, and a row where the archive breaks off."""
    (file,) = files_of(piece)
    when = file.changed_at
    held: list[tuple[str, tuple[str, bytes]]] = []
    seen: set[str] = set()
    left = MOST_UNPACKED
    for number, member in enumerate(_members(file)):
        if _part(member.name, piece.what["parts"]) != piece.what["part"]:
            continue
        url = f"{file.url}#{quote(member.name, errors='surrogateescape')}" if member.name else file.url
        odd = member.odd or ("twice" if member.name in seen else "size" if member.size > min(MOST_BYTES, left) else "")
        seen.add(member.name)
        try:
            data = b"" if odd else member.read()
        except Exception as error:
            odd = damage(error)
        if odd:
            yield bad(source, url, "archive", odd, when, f"{url}@{number}")
        else:
            left -= len(data)
            held.append((_shown(member.name), (url, data)))
    for sample in arrange(held, config.texts, first=True):
        beside = {extension: data for extension, (_, data) in sample.beside.items()}
        for name, (url, data) in sample.media:
            try:
                if any(len(text) > MOST_TEXT for text in beside.values()):
                    raise ValueError
                found = fields(config.texts, name, PurePosixPath(name).parent.name, beside)
            except (ValueError, RecursionError) as error:
                yield bad(source, url, "sidecar", damage(error), when)
            else:
                yield good(source, url, data, found, when)
        if not sample.media:
            yield from (bad(source, url, "media", "nothing stands beside", when) for url, _ in sample.beside.values())


def _part(name: str, parts: int) -> int:
    """Which part takes a member: the same for all of a sample. What has no name, the archive itself, is the first's."""
    key, _ = split(_shown(name), first=True)
    return int(keys.digest(key.encode())[:8], 16) % parts if name else 0


def _shown(name: str) -> str:
    """A name as text, whatever bytes it has."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


def _members(file: File) -> Iterator[Member]:
    """Every file of the archive. Where it cannot be read on, a last member without a name says why."""
    if file.stamp == UNREADABLE:
        yield Member("", 0, bytes, UNREADABLE)
        return
    name = file.name.lower()
    with ExitStack() as stack:
        try:
            stream: IO[bytes] = stack.enter_context(folder.reader(file))
            if name.endswith(_TAR_GZ):
                stream = cast(IO[bytes], stack.enter_context(gzip.open(stream)))
            found = _zipped(stream) if name.endswith(_ZIP) else _tarred(stream)
            for number, member in enumerate(found):
                if number >= MOST_MEMBERS:
                    yield Member("", 0, bytes, f"more than {MOST_MEMBERS} members")
                    return
                yield member
        except Exception as error:
            yield Member("", 0, bytes, damage(error))


def _zipped(stream: IO[bytes]) -> Iterator[Member]:
    with zipfile.ZipFile(stream) as archive:
        for info in archive.infolist():
            if info.is_dir():
                continue
            link = info.create_system == 3 and (info.external_attr >> 28) == 0o12
            yield Member(info.filename, info.file_size, partial(archive.read, info), "a link" if link else "")


def _tarred(stream: IO[bytes]) -> Iterator[Member]:
    with tarfile.open(fileobj=stream, mode="r:") as archive:
        while info := archive.next():
            archive.members = []  # type: ignore[attr-defined]  # else it keeps every header
            if not info.isdir():
                odd = "" if info.isreg() else "a link or device"
                yield Member(info.name, info.size, partial(_untar, archive, info), odd)
        stream.seek(archive.offset)
        if stream.read(512) != bytes(512):  # tarfile ends in silence at a header that is cut or damaged
            raise EOFError


def _untar(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    inner = archive.extractfile(info)
    data = inner.read() if inner else b""
    if len(data) != info.size:
        raise EOFError
    return data
