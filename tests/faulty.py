"""A store that fails where a test wants it: the process dies before or after operation n, or an operation fails for a
moment, before its effect or after it, or is beaten by a twin that does the same.

What S3Store settles by itself (409, 412, 500, 503, cut connections, bodies that break off) is badwire.py's part.
"""

import os
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from dsray.errors import LakeError
from dsray.lake.store import Conflict, Data, Entry, Head, Store

T = TypeVar("T")
WRITES = ("create", "swap", "delete")
_STEPS = ("link", "replace", "unlink", "mkdir")


class Crash(BaseException):
    """The process is gone. No `except Exception` hides it."""


class Faulty:
    """`store`, whose operations are numbered from 1 on. `crash`: where the process dies, before that operation or
    `after` it; from then on nothing reaches the store. `rate`: the share of operations that fail for a moment, drawn by
    `seed` and number.
    """

    def __init__(self, store: Store, crash: int = 0, after: bool = False, rate: float = 0.0, seed: int = 0) -> None:
        self.store = store
        self.url, self.far = store.url, store.far
        self.done: list[str] = []
        self.injected: Counter[str] = Counter()
        self._crash, self._after, self._rate, self._seed = crash, after, rate, seed
        self._dead = False
        self._lock = threading.Lock()

    def read(self, name: str, sha256: str = "") -> bytes:
        return self._do("read", name, lambda: self.store.read(name, sha256))

    def get(self, name: str) -> tuple[bytes, str]:
        return self._do("get", name, lambda: self.store.get(name))

    def create(self, name: str, data: Data, meta: Mapping[str, str] = {}, sha256: str = "") -> str:
        return self._do("create", name, lambda: self.store.create(name, data, meta, sha256))

    def swap(self, name: str, data: bytes, etag: str | None, meta: Mapping[str, str] = {}) -> str:
        return self._do("swap", name, lambda: self.store.swap(name, data, etag, meta))

    def head(self, name: str) -> Head | None:
        return self._do("head", name, lambda: self.store.head(name))

    def list(self, prefix: str) -> Iterator[Entry]:
        yield from self._do("list", prefix, lambda: [*self.store.list(prefix)])

    def delete(self, name: str) -> None:
        self._do("delete", name, lambda: self.store.delete(name))

    def open(self, name: str) -> Any:
        return self._do("open", name, lambda: self.store.open(name))

    def _do(self, operation: str, name: str, call: Callable[[], T]) -> T:
        with self._lock:
            self.done.append(operation)
            number = len(self.done)
            due = number == self._crash
            self._dead = self._dead or (due and not self._after)
        if self._dead:
            raise Crash(f"{number} {operation} {name}")
        fault = self._fault(number, operation, shared=not name.startswith(("probe/", "refs/leases/")))
        if fault == "unreachable":
            raise self._unreachable()
        if fault == "beaten":
            with suppress(Conflict):
                call()
        try:
            found = call()
        finally:  # what was refused or was not there is answered, and then the process dies
            self._dead = self._dead or due
            if self._dead:
                raise Crash(f"{number} {operation} {name}")
        if fault == "lost":
            raise self._unreachable()
        return found

    def _fault(self, number: int, operation: str, shared: bool) -> str:
        drawn = random.Random(f"{self._seed}/{number}")
        if drawn.random() >= self._rate:
            return ""
        kinds = ["unreachable", *(["lost"] if operation in WRITES else [])]
        fault = drawn.choice([*kinds, *(["beaten"] if operation in WRITES and shared else [])])
        with self._lock:
            self.injected[fault] += 1
        return fault

    def _unreachable(self) -> LakeError:
        return LakeError(f"The lake {self.url} cannot be reached (injected).", "Run again.")


class Steps:
    """The steps that a file store takes within an operation: links, renames, unlinks, folders."""

    def __init__(self, crash: int = 0) -> None:
        self.count = 0
        self.crash = crash

    def take(self, step: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """The process dies before step `crash`: that one and all that come later do nothing."""
        self.count += 1
        if 0 < self.crash <= self.count:
            raise Crash(f"{self.count} {step.__name__} {arguments}")
        return step(*arguments, **named)


@contextmanager
def steps(folder: Path, crash: int = 0) -> Iterator[Steps]:
    """Counts the file system's steps below `folder`, and ends the process before one of them."""
    counted = Steps(crash)

    def watched(step: Callable[..., Any]) -> Callable[..., Any]:
        def one(*arguments: Any, **named: Any) -> Any:
            ours = Path(os.fsdecode(arguments[0])).is_relative_to(folder)
            return counted.take(step, *arguments, **named) if ours else step(*arguments, **named)

        return one

    with pytest.MonkeyPatch.context() as patch:
        for name in _STEPS:
            patch.setattr(os, name, watched(getattr(os, name)))
        yield counted
