"""A store of objects: created once and never changed, but for the few that compare-and-swap moves."""

import secrets
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

from dsray.errors import DamagedError, LakeError
from dsray.keys import digest

if TYPE_CHECKING:
    import pyarrow as pa

HIDDEN = frozenset({".meta", ".tmp", ".locks"})
"""Folders that a file store keeps for itself; no name may have one."""

_LONGEST_NAME, _LONGEST_PART = 900, 180  # bytes: S3 takes 1024 in all, file systems 255 a part


Data = bytes | memoryview
"""What a store takes: a shard is written from where it was encoded."""


class Entry(NamedTuple):
    """An object in a listing; the name is relative to the store's root."""

    name: str
    size: int
    etag: str
    modified: datetime


class Head(NamedTuple):
    """What is known of an object without reading it."""

    size: int
    etag: str
    sha256: str  # as it was when it was put; empty where the store does not know
    meta: dict[str, str]


class Missing(LakeError):
    """There is no object of that name."""


class Conflict(LakeError):
    """A compare-and-swap found another object than it expected."""


class Store(Protocol):
    """Objects by name. Every method raises LakeError with one clear sentence when the store cannot do its part."""

    @property
    def url(self) -> str:
        """`s3://bucket/prefix` or `file:///absolute/path`."""

    @property
    def far(self) -> bool:
        """Whether another machine keeps the objects, so that who waits for it leaves a core idle."""

    def read(self, name: str, sha256: str = "") -> bytes:
        """The bytes; raises Missing, and DamagedError when they are not what was put.

        `sha256`: from a caller that knows it.
        """

    def get(self, name: str) -> tuple[bytes, str]:
        """The bytes and the etag to swap against; raises Missing."""

    def create(self, name: str, data: Data, meta: Mapping[str, str] = {}, sha256: str = "") -> str:
        """Create-only put. The SHA-256 of the data where this call made the object; nothing where it was there. A lost
        answer is settled by reading back.

        `sha256`: from a caller that knows it.
        """

    def swap(self, name: str, data: bytes, etag: str | None, meta: Mapping[str, str] = {}) -> str:
        """Compare-and-swap; None: it must not exist. The new etag; raises Conflict."""

    def head(self, name: str) -> Head | None:
        """Size, etag and metadata; None when there is no such object."""

    def list(self, prefix: str) -> Iterator[Entry]:
        """All objects whose names begin with `prefix`, sorted by name."""

    def delete(self, name: str) -> None:
        """Deletes the object if it is there."""

    def open(self, name: str) -> "pa.NativeFile":
        """Random access, for reading some columns only; raises Missing."""


def open_store(url: str) -> Store:
    """The store at `s3://bucket/prefix` or `file:///path`; `probe` asks whether it is there. Raises LakeError."""
    if url.startswith("s3://"):
        from dsray.lake.s3 import S3Store

        return S3Store(url)
    if url.startswith("file://"):
        from dsray.lake.files import FileStore

        return FileStore(url)
    scheme = url.split("://", maxsplit=1)[0] if "://" in url else "no scheme"
    raise LakeError(
        f"A lake's address begins with s3:// or file://, not with {scheme}.",
        "Write `lake: s3://bucket/prefix` or `lake: file:///path`.",
    )


def checked(name: str) -> str:
    """`name` if every store can hold it and it stays under the root; raises LakeError."""
    parts = name.split("/")
    if (
        any(part in ("", ".", "..") or part in HIDDEN or len(part.encode()) > _LONGEST_PART for part in parts)
        or "\\" in name
        or not name.isprintable()
        or len(name.encode()) > _LONGEST_NAME
    ):
        raise LakeError(
            f"{name[:80]!a} cannot be the name of an object.",
            "Use parts of printable characters between single slashes, without '..'.",
        )
    return name


def intact(store: Store, name: str, data: bytes, sha256: str) -> bytes:
    """The data, where its SHA-256 is that, or nobody knows one; else raises DamagedError."""
    if sha256 and digest(data) != sha256:
        raise DamagedError(
            f"{store.url}/{name} is damaged: its bytes are not those that were put.",
            "Bring it back from a copy of the lake.",
        )
    return data


def probe(store: Store) -> None:
    """Refuses a store that cannot be reached or written, or that breaks the two promises that everything rests on.

    Raises LakeError: unreachable, no such bucket, refused credentials, no create-only puts or no compare-and-swap.
    """
    name = f"probe/{secrets.token_hex(8)}"
    next(iter(store.list("probe/")), None)  # some servers make a missing bucket at the first put; none at a listing
    try:
        if not (store.create(name, b"first") and not store.create(name, b"second") and store.read(name) == b"first"):
            raise _unkept(store, "create-only puts (If-None-Match)")
        etag = store.swap(name, b"third", store.get(name)[1])
        if not _refuses(store, name, "0" * 32) or store.swap(name, b"fourth", etag) == etag:
            raise _unkept(store, "compare-and-swap (If-Match)")
    finally:
        store.delete(name)


def _refuses(store: Store, name: str, etag: str) -> bool:
    try:
        store.swap(name, b"wrong", etag)
    except Conflict:
        return True
    return False


def _unkept(store: Store, promise: str) -> LakeError:
    return LakeError(
        f"The store at {store.url} does not honour {promise}.",
        "Use one that does: AWS S3, SeaweedFS 4.48 or newer, or file:///path.",
    )
