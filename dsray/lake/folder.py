"""Files that a source reads: a folder, or one file, on disk or on S3. Listed with a stamp that changes with the bytes.

Names are percent-encoded in URLs, so that a URL names any file exactly, whatever bytes its name has.
"""

import os
import stat
from contextlib import closing
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple, cast
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

from dsray.errors import LakeError, SourceError
from dsray.lake.store import checked

UNREADABLE = "unreadable"
"""The stamp of what is listed and cannot be read: a broken link, a pipe, a file that is not ours to read."""

_BUFFER = 2**20


class File(NamedTuple):
    """One file: where it is, its name below the folder, and what tells its bytes from others."""

    url: str
    name: str
    size: int
    stamp: str  # S3: the etag; on disk the size and the time of the last change, in nanoseconds
    modified: str  # ISO 8601, UTC

    @property
    def changed_at(self) -> datetime:
        return datetime.fromisoformat(self.modified)


def absolute(path: str) -> str:
    """`path` as a URL: s3://... as it is; file:///... and plain paths made absolute."""
    if path.startswith("s3://"):
        return path
    if path.startswith("file://"):
        return _on_disk(os.fsdecode(unquote_to_bytes(urlsplit(path).path)))
    if "://" in path:
        raise SourceError(
            f"'{path.split('://')[0]}://' cannot be read.", "Use a path, file:///path or s3://bucket/path."
        )
    return _on_disk(path)


def listing(path: str) -> list[File]:
    """Every file at or below `path`, sorted by URL; hidden ones (.name) left out. Raises LakeError or SourceError."""
    url = absolute(path)
    found = _listed_s3(url) if url.startswith("s3://") else _listed_disk(url)
    if not found:
        raise SourceError(f"There are no files at {url}.", "Correct the source's `path`.")
    return sorted(found)


def reader(file: File) -> IO[bytes]:
    """The file, opened for random access. Raises SourceError when it is not what was listed any more."""
    if file.url.startswith("s3://"):
        return _s3(file)
    try:
        stream = _path(file.url).open("rb", buffering=_BUFFER)
    except OSError as error:
        raise SourceError(f"{file.url} could not be opened: {error.strerror}.", "Run again.") from error
    if _stamp(os.fstat(stream.fileno())) != file.stamp:
        stream.close()
        raise _changed(file)
    return stream


def read(file: File, most: int) -> bytes:
    """The first `most` bytes, or all there are."""
    with closing(reader(file)) as stream:
        return stream.read(min(most, max(file.size, 0)))


def whole(path: str) -> bytes:
    """The one file at `path`, read once while it does not change. Raises SourceError."""
    found = listing(path)
    if [file.url for file in found] != [absolute(path)] or found[0].stamp == UNREADABLE:
        raise SourceError(f"{absolute(path)} is no file that can be read.", "Name one file, and let dsray read it.")
    return _whole(found[0])


@lru_cache(maxsize=4)
def _whole(file: File) -> bytes:
    with closing(reader(file)) as stream:
        return stream.read()


def _on_disk(path: str) -> str:
    return f"file://{quote(os.fsencode(os.path.abspath(path)))}"  # noqa: PTH100  # keeps links and makes '..' go


def _path(url: str) -> Path:
    return Path(os.fsdecode(unquote_to_bytes(urlsplit(url).path)))


def _stamp(found: os.stat_result) -> str:
    return f"{found.st_size}-{found.st_mtime_ns}"


def _changed(file: File) -> SourceError:
    return SourceError(f"{file.url} was changed while it was read.", "Run again.")


def _listed_disk(url: str) -> list[File]:
    root = _path(url)
    if not root.is_dir():
        return [_file(root, root.name)] if os.path.lexists(root) else []
    found: list[File] = []
    for folder, inner, names in os.walk(root, onerror=_denied):
        inner[:] = [name for name in inner if not name.startswith(".")]
        paths = [Path(folder, name) for name in names if not name.startswith(".")]
        found += [_file(path, path.relative_to(root).as_posix()) for path in paths]
    return found


def _denied(error: OSError) -> None:
    """A folder that cannot be listed may hold anything: nothing is made without it."""
    raise SourceError(f"{error.filename} could not be listed: {error.strerror}.", "Give dsray the right to read it.")


def _file(path: Path, name: str) -> File:
    url, name = _on_disk(str(path)), os.fsencode(name).decode(errors="replace")
    try:
        found = path.stat()
    except OSError:
        return File(url, name, 0, UNREADABLE, "1970-01-01T00:00:00+00:00")
    when = datetime.fromtimestamp(found.st_mtime_ns // 1000 / 1e6, UTC).isoformat()
    readable = stat.S_ISREG(found.st_mode) and os.access(path, os.R_OK)
    return File(url, name, found.st_size, _stamp(found) if readable else UNREADABLE, when)


def _listed_s3(url: str) -> list[File]:
    from dsray.lake.s3 import S3Store

    bucket, _, path = url.removeprefix("s3://").partition("/")
    above, _, last = path.strip("/").rpartition("/")
    store = S3Store(f"s3://{bucket}/{above}".rstrip("/"))
    skip = len(last) + 1 if last else 0
    entries = [(entry, entry.name[skip:]) for entry in store.list(f"{last}/" if last else "")]
    if not entries and last:
        entries = [(entry, last) for entry in store.list(last) if entry.name == last]
    found = []
    for entry, name in entries:
        if any(part.startswith(".") for part in name.split("/")):
            continue
        when = entry.modified.astimezone(UTC).isoformat()
        stamp = entry.etag.strip('"') if _openable(entry.name) else UNREADABLE
        found.append(File(f"{store.url}/{quote(entry.name)}", name, entry.size, stamp, when))
    return found


def _openable(name: str) -> bool:
    try:
        return bool(checked(name))
    except LakeError:
        return False


def _s3(file: File) -> IO[bytes]:
    from dsray.lake.s3 import S3Store

    bucket, _, key = file.url.removeprefix("s3://").partition("/")
    store, name = S3Store(f"s3://{bucket}"), unquote(key)
    head = store.head(name)
    if head is None or head.etag.strip('"') != file.stamp:
        raise _changed(file)
    import io

    return cast(IO[bytes], io.BufferedReader(store.open(name), _BUFFER))
