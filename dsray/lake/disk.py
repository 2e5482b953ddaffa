"""Bytes safe on a disk, and past the page cache: a copy there costs time, and nobody reads a shard again soon."""

import fcntl
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from errno import EINVAL
from io import FileIO

from dsray.lake.store import Data

BLOCK = 4096
"""Where memory begins at a multiple of it, the disk can fetch it itself. No common disk wants more."""
_LARGE = 2**20
"""Bytes from which two threads pay, one that writes and one that sums up; and of a piece."""


def put(file: FileIO, data: Data, sha256: str = "") -> str:
    """The SHA-256 of the data, which are safe on disk then. `sha256`: from a caller that knows it."""
    view = memoryview(data).cast("B")
    if len(view) < _LARGE:
        _write(file, view)
        return sha256 or hashlib.sha256(view).hexdigest()
    with ThreadPoolExecutor(1) as disk:
        written = disk.submit(_write_large, file, view)
        found = sha256 or hashlib.sha256(view).hexdigest()
        written.result()
    return found


def _write(file: FileIO, data: memoryview) -> None:
    while data:
        data = data[file.write(data) :]
    os.fsync(file.fileno())


def _write_large(file: FileIO, data: memoryview) -> None:
    """Past the cache; what does not go there, by pieces, whose pages go to disk at once and are then given back."""
    at = since = _past_cache(file, data)
    while at < len(data):
        at += file.write(data[at : at + _LARGE])
        _give_back(file, since)
    os.fsync(file.fileno())
    _give_back(file, since)


def _past_cache(file: FileIO, data: memoryview) -> int:
    """Writes whole blocks by O_DIRECT, if memory and file system allow it; how many bytes."""
    if not hasattr(os, "O_DIRECT") or not _aligned(data):
        return 0
    end = len(data) // BLOCK * BLOCK
    flags = fcntl.fcntl(file, fcntl.F_GETFL)
    at = 0
    try:
        fcntl.fcntl(file, fcntl.F_SETFL, flags | os.O_DIRECT)
        while at < end and at % BLOCK == 0:
            at += file.write(data[at:end])
    except OSError as error:
        if error.errno != EINVAL:  # what a file system says that cannot, or not with such blocks
            raise
    finally:
        fcntl.fcntl(file, fcntl.F_SETFL, flags)
    return at


def _aligned(data: memoryview) -> bool:
    import pyarrow as pa

    return bool(pa.py_buffer(data).address % BLOCK == 0)


def _give_back(file: FileIO, since: int) -> None:
    """Pages that are on disk are free for the next piece; those that are not go there from now on."""
    if hasattr(os, "posix_fadvise"):  # Linux
        os.posix_fadvise(file.fileno(), since, 0, os.POSIX_FADV_DONTNEED)
