"""Leases: heartbeats by which who writes to a lake, and who sweeps it, know of each other.

refs/leases/<random>.json   what, host, pid; steps: {name: key} in use; folders in which objects may be adopted;
                            sweeping: whether its holder deletes

A lease is live while its object is renewed, by the store's clock: machines' clocks differ. One that is not renewed ends
by itself.
"""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from dsray import keys
from dsray.errors import LakeError
from dsray.lake.store import Conflict, Missing, Store

FOLDER = "refs/leases/"

RENEWED_S, LIMIT_S = 10.0, 60.0
"""How often a lease is renewed, and how long after that it has ended."""
_POLL_S = 0.5
_LONGEST_WAIT_S = 3600.0


@dataclass(frozen=True)
class Said:
    """A lease as others read it."""

    name: str
    what: str
    host: str
    pid: int
    steps: Mapping[str, str] = field(default_factory=dict)
    folders: Sequence[str] = ()
    sweeping: bool = False

    @property
    def gone(self) -> bool:
        """Was it a process of this machine that is no more?"""
        here = self.host == socket.gethostname() and Path("/proc").exists()
        return here and not Path(f"/proc/{self.pid}").exists()


class Lease:
    """A lease that this process holds."""

    def __init__(self, store: Store, what: str) -> None:
        self._store = store
        self._name = f"{FOLDER}{secrets.token_hex(8)}.json"
        self._value: dict[str, Any] = {"what": what, "host": socket.gethostname(), "pid": os.getpid()}
        self._etag: str | None = None
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._renewed_at = _seconds()
        self._beats = 0

    def declare(self, steps: Mapping[str, str], folders: Sequence[str]) -> None:
        """Says which manifests are in use, and where objects may be adopted; then waits while somebody deletes: who
        began before this was said may not know of it. Raises LakeError when the lease was lost."""
        self._say(steps=dict(steps), folders=list(folders))
        until = time.monotonic() + _LONGEST_WAIT_S
        while sweeping := [other for other in self.others() if other.sweeping]:
            if time.monotonic() > until:
                raise LakeError(f"`{sweeping[0].what}` on {sweeping[0].host} does not end.", "Stop it, and run again.")
            time.sleep(_POLL_S)
            self.check()

    def sweep(self) -> datetime:
        """Says that this process deletes from now on; the store's time of that."""
        self._say(sweeping=True)
        return self.now()

    def check(self) -> None:
        """Raises LakeError when the lease may have ended: this process stood still, or did not reach the lake."""
        if _seconds() - self._renewed_at > LIMIT_S:
            raise self._lost()

    def now(self) -> datetime:
        """The time by the store's clock."""
        self._say()
        return self._entries()[self._name]

    def others(self) -> list[Said]:
        """The live leases of others."""
        self._say()
        entries = self._entries()
        since = entries.pop(self._name) - timedelta(seconds=LIMIT_S)
        return _read(self._store, [name for name, modified in entries.items() if modified >= since])

    def dead(self) -> list[str]:
        """The objects of leases that ended by themselves long ago."""
        entries = self._entries()
        since = entries[self._name] - timedelta(seconds=10 * LIMIT_S)
        return [name for name, modified in entries.items() if modified < since]

    def _entries(self) -> dict[str, datetime]:
        entries = {entry.name: entry.modified for entry in self._store.list(FOLDER)}
        if self._name not in entries:
            raise self._lost()
        return entries

    def _say(self, **news: Any) -> None:
        """Renews the lease."""
        with self._lock:
            began = _seconds()
            self.check()
            self._beats += 1
            self._value |= {**news, "beats": self._beats}
            data = keys.canonical(self._value)
            try:
                self._etag = self._store.swap(self._name, data, self._etag)
            except Conflict:  # an answer was lost: nobody else writes this object
                self._etag = self._store.swap(self._name, data, self._store.get(self._name)[1])
            self._renewed_at = began

    def _beat(self) -> None:
        while not self._ended.wait(RENEWED_S):
            with suppress(LakeError):  # the lake may answer again in time
                self._say()

    def _lost(self) -> LakeError:
        return LakeError(
            f"This process was not heard of at {self._store.url} for {LIMIT_S:.0f} s: what it made may be swept.",
            "Run again to go on.",
        )

    def _end(self) -> None:
        self._ended.set()
        with self._lock, suppress(LakeError):
            self._store.delete(self._name)


@contextmanager
def held(store: Store, what: str) -> Iterator[Lease]:
    """A lease for as long as it is needed, renewed in the background."""
    lease = Lease(store, what)
    lease._say()
    threading.Thread(target=lease._beat, daemon=True).start()
    try:
        yield lease
    finally:
        lease._end()


@contextmanager
def alone(store: Store, what: str) -> Iterator[Lease]:
    """A lease to delete by, while nobody else writes: who begins meanwhile waits. Raises LakeError when somebody does
    already."""
    with held(store, what) as lease:
        lease.sweep()
        if others := [other for other in lease.others() if (other.folders or other.sweeping) and not other.gone]:
            raise LakeError(f"`{others[0].what}` on {others[0].host} works on this lake.", "Wait until it has ended.")
        yield lease


def live(store: Store) -> list[Said]:
    """The leases that are live now."""
    with held(store, "look") as lease:
        return lease.others()


def _seconds() -> float:
    """A clock that goes on while the machine is suspended, where there is one: the lake's does too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _read(store: Store, names: Sequence[str]) -> list[Said]:
    found = []
    for name in names:
        with suppress(Missing):  # it ended meanwhile
            found.append(_parsed(name, store.read(name)))
    return found


def _parsed(name: str, data: bytes) -> Said:
    """A lease; one that this dsray cannot read may be about everything."""
    try:
        value = json.loads(data)
        value.pop("beats", None)
        return Said(name, **value)
    except (ValueError, TypeError, AttributeError):
        return Said(name, "another dsray", "an unknown machine", 0, folders=("",))
