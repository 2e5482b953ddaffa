"""The store on a local or shared file system: temp + fsync + link, so that an object is whole or not there.

An object's metadata and digest are in a sidecar, `<folder>/.meta/<file>.<sha256>.json`, which is on disk before the
object is: an object has one, and a race or a crash can only leave more, of which the bytes choose theirs.
"""

import errno
import fcntl
import json
import os
import secrets
import socket
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from dsray.errors import LakeError
from dsray.keys import digest
from dsray.lake import disk
from dsray.lake.store import HIDDEN, Conflict, Data, Entry, Head, Missing, checked, intact

if TYPE_CHECKING:
    import pyarrow as pa

_LOCK_S = 60.0  # how long a write waits for others that write names of the same stripe
_STALE_S = 24 * 3600.0  # a temp file of another machine is dead after a day
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


class FileStore:
    """Objects as files under a folder. Pickles as its address."""

    far = False

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        path = unquote(parts.path)
        if parts.netloc not in ("", "localhost") or not path.startswith("/") or "\0" in path:
            raise LakeError(f"A file lake's address is file:///absolute/path, not {url!a}.")
        self._root = Path(os.path.normpath(path))
        self.url = f"file://{self._root}"
        self._swept = False

    def __reduce__(self) -> tuple[type["FileStore"], tuple[str]]:
        return FileStore, (self.url,)

    def read(self, name: str, sha256: str = "") -> bytes:
        with self._clear(name, "read"):
            return intact(self, name, self._path(name).read_bytes(), sha256)

    def get(self, name: str) -> tuple[bytes, str]:
        data = self.read(name)
        return data, digest(data)

    def create(self, name: str, data: Data, meta: Mapping[str, str] = {}, sha256: str = "") -> str:
        path = self._path(name)
        with self._clear(name, "write"):
            if path.exists():
                return ""
            with self._staged(data, sha256) as (temp, found), self._locked(name):
                self._describe(path, found, meta)
                return found if _link(temp, path) else ""

    def swap(self, name: str, data: bytes, etag: str | None, meta: Mapping[str, str] = {}) -> str:
        path = self._path(name)
        with self._clear(name, "write"), self._staged(data) as (temp, new), self._locked(name):
            now = digest(path.read_bytes()) if path.exists() else None
            if now != etag:
                raise Conflict(f"{self.url}/{name} was changed by another.", "Read it again.")
            if meta:  # of the same bytes too
                self._sidecar(path, new).unlink(missing_ok=True)
            self._describe(path, new, meta)
            if etag is None:
                if not _link(temp, path):
                    raise Conflict(f"{self.url}/{name} was changed by another.", "Read it again.")
                return new
            temp.replace(path)
            _sync(path.parent)
            for sidecar in self._sidecars(path):
                if _described(sidecar)[1] != new:
                    sidecar.unlink(missing_ok=True)
            return new

    def head(self, name: str) -> Head | None:
        path = self._path(name)
        with self._clear(name, "read"):
            try:
                return self._head(path, self._sidecars(path))
            except (FileNotFoundError, NotADirectoryError):
                return None

    def list(self, prefix: str) -> Iterator[Entry]:
        if ".." in prefix.split("/"):
            checked(prefix)
        folder = self._root / prefix.rpartition("/")[0]
        with self._clear(prefix, "list"):
            yield from sorted(e for e in self._entries(folder) if e.name.startswith(prefix))

    def delete(self, name: str) -> None:
        path = self._path(name)
        with self._clear(name, "delete"), self._locked(name):
            sidecars = self._sidecars(path)
            try:
                path.unlink(missing_ok=True)
            except NotADirectoryError:
                return
            for sidecar in sidecars:
                sidecar.unlink(missing_ok=True)

    def open(self, name: str) -> "pa.NativeFile":
        import pyarrow as pa

        with self._clear(name, "read"):
            return pa.OSFile(str(self._path(name)))

    def _path(self, name: str) -> Path:
        return self._root / checked(name)

    def _entries(self, folder: Path) -> Iterator[Entry]:
        """All objects under a folder, in no order."""
        sidecars: dict[str, Sequence[Path]] = defaultdict(tuple)
        for sidecar in _children(folder / ".meta"):
            path = Path(sidecar.path)
            sidecars[_described(path)[0]] = [*sidecars[_described(path)[0]], path]
        for child in _children(folder):
            if child.name in HIDDEN:
                continue
            if child.is_dir():
                yield from self._entries(Path(child.path))
                continue
            try:
                size, etag, *_ = self._head(Path(child.path), sidecars[child.name], meta=False)
            except FileNotFoundError:  # deleted meanwhile
                continue
            modified = datetime.fromtimestamp(child.stat().st_mtime, UTC)
            yield Entry(Path(child.path).relative_to(self._root).as_posix(), size, etag, modified)

    def _head(self, path: Path, sidecars: Sequence[Path], meta: bool = True) -> Head:
        if path.is_dir():
            raise FileNotFoundError(path)
        size = path.stat().st_size
        if len(sidecars) != 1:
            etag = digest(path.read_bytes())
            sidecars = [s for s in sidecars if _described(s)[1] == etag]
        else:
            etag = _described(sidecars[0])[1]
        said = {str(k): str(v) for k, v in json.loads(sidecars[0].read_bytes()).items()} if meta and sidecars else {}
        return Head(size, etag, etag, said)

    def _sidecars(self, path: Path) -> Sequence[Path]:
        found = (Path(child.path) for child in _children(path.parent / ".meta") if child.name.startswith(path.name))
        return [sidecar for sidecar in found if _described(sidecar)[0] == path.name]

    def _sidecar(self, path: Path, sha256: str) -> Path:
        return path.parent / ".meta" / f"{path.name}.{sha256}.json"

    def _describe(self, path: Path, sha256: str, meta: Mapping[str, str]) -> None:
        sidecar = self._sidecar(path, sha256)
        if not sidecar.exists():
            with self._staged(json.dumps(dict(meta)).encode()) as (temp, _):
                _link(temp, sidecar)

    @contextmanager
    def _staged(self, data: Data, sha256: str = "") -> Iterator[tuple[Path, str]]:
        """A file with these bytes, safe on disk, for as long as it takes to give it its name; and their SHA-256."""
        folder = self._root / ".tmp"
        _make(folder)
        if not self._swept:
            self._swept = True
            _sweep(folder)
        temp = folder / f"{socket.gethostname()}!{os.getpid()}!{secrets.token_hex(8)}"
        try:
            with temp.open("xb", buffering=0) as file:
                found = disk.put(file, data, sha256)
            yield temp, found
        finally:
            temp.unlink(missing_ok=True)

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """One writer a stripe of names, on this machine and wherever the file system carries locks."""
        folder = self._root / ".locks"
        _make(folder)
        with (folder / digest(name.encode())[:2]).open("ab") as file:
            until = time.monotonic() + _LOCK_S
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        raise LakeError(
                            f"{self.url}/{name} has been locked by another process for {_LOCK_S:.0f} s.",
                            "Stop that process.",
                        ) from None
                    time.sleep(0.002)
            yield

    @contextmanager
    def _clear(self, name: str, doing: str) -> Iterator[None]:
        """What the operating system says, as one sentence."""
        try:
            yield
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError, FileExistsError) as error:
            if doing == "write":
                raise LakeError(
                    f"{self.url}/{name} cannot be written: a file and a folder of one name meet there."
                ) from error
            raise Missing(f"There is no {self.url}/{name}.") from error
        except OSError as error:
            if error.errno in _FULL:
                raise LakeError(
                    f"The disk of the lake {self.url} is full.", "Free some space, then run again."
                ) from error
            if error.errno in _DENIED:
                raise LakeError(
                    f"The lake {self.url} cannot be changed or read: access denied.",
                    "Check the folder's owner and rights.",
                ) from error
            raise LakeError(f"The lake {self.url} failed to {doing} {name}: {error.strerror}.") from error


def _link(temp: Path, path: Path) -> bool:
    """Gives a finished file its name, durably; False when the name is taken."""
    _make(path.parent)
    try:
        os.link(temp, path)
    except FileExistsError:
        return False
    _sync(path.parent)
    return True


def _make(folder: Path) -> None:
    """A folder that survives a crash of the machine, with its parents."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _described(sidecar: Path) -> tuple[str, str]:
    """A sidecar's path → the file it describes, the digest of the bytes it is for."""
    name, sha256, _ = sidecar.name.rsplit(".", 2)
    return name, sha256


def _children(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as children:
            return list(children)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _sweep(folder: Path) -> None:
    """Removes what dead processes left half-written."""
    for child in _children(folder):
        host, _, rest = child.name.partition("!")
        pid = rest.partition("!")[0]
        try:
            old = time.time() - child.stat().st_mtime > _STALE_S
            if old or (host == socket.gethostname() and pid.isdigit() and not _alive(int(pid))):
                Path(child.path).unlink(missing_ok=True)
        except FileNotFoundError:  # its owner was faster
            continue


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
