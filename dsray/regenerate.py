"""Many datasets brought up to date as one job: one Ray session, one connection a lake, and what recipes share is made
once. A recipe that fails stops no other.

Each dataset has a thread of its own, and a number of them may work at once. Who needs a step that another is making now
waits for it and gives its place away meanwhile.
"""

import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from dsray import build, planning, recipe
from dsray.build import Listener, Outcome
from dsray.dataset import Version, version
from dsray.diff.compare import compare
from dsray.errors import INTERRUPTED, DsrayError, RecipeError
from dsray.lake.manifests import Manifest
from dsray.lake.session import opened
from dsray.lake.store import Store
from dsray.recipe import Recipe
from dsray.schema import SPLITS
from dsray.stages import collect, versions
from dsray.stages.step import Step

_PATIENCE_S = 10.0
"""How long datasets that are being made have to end by themselves after Ctrl-C, before Ray is stopped under them."""
_READ_BYTES = 2**30
"""Two versions of as many bytes are compared row by row; of larger ones `dsray diff` tells."""
_COUNTED = (("added", "added"), ("removed", "removed"), ("changed", "changed"), ("moved", "moved_in"))


@dataclass(frozen=True)
class Entry:
    """A recipe's file, and the recipe or what is wrong with it."""

    path: Path
    recipe: Recipe | None = None
    error: DsrayError | None = None

    @property
    def name(self) -> str:
        return self.recipe.dataset if self.recipe else self.path.name

    def lake(self, instead: str | None = None) -> str | None:
        """Where it is built; None is the embedded server."""
        return instead or (self.recipe.lake if self.recipe else None) or os.environ.get("DSRAY_LAKE")


@dataclass(frozen=True)
class Result:
    """What became of a recipe. `change` says how the version differs from the one before."""

    name: str
    state: str = (
        "stopped"  # up to date, made, came to (what was there), failed; stopped where it did not come to an end
    )
    version: int = 0
    change: str = ""
    seconds: float = 0.0
    error: DsrayError | None = None


def load(paths: Sequence[Path]) -> list[Entry]:
    """The recipes in files and folders. Raises RecipeError where there is none, or two make one dataset."""
    files = [file for path in paths for file in (_inside(path) if path.is_dir() else [path])]
    entries = [_loaded(file) for file in dict.fromkeys(files)]
    named: dict[str, Path] = {}
    for entry in entries:
        if entry.recipe and (other := named.setdefault(entry.name, entry.path)) != entry.path:
            raise RecipeError(
                f"{other} and {entry.path} both make the dataset '{entry.name}'.", "Name one of them otherwise."
            )
    return [_apart(entry, entries[:at]) for at, entry in enumerate(entries)]


def _inside(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
    if not found:
        raise RecipeError(f"There is no recipe in {folder}.", "Name a folder with YAML files, or a file.")
    return found


def _loaded(path: Path) -> Entry:
    try:
        found = recipe.load(path)
        build.check(found)
    except DsrayError as error:
        return Entry(path, error=error)
    return Entry(path, found)


def _apart(entry: Entry, before: Sequence[Entry]) -> Entry:
    """Refuses a module of the recipe's own that an earlier recipe has under the same name: a process knows one."""
    for module in entry.path.absolute().parent.glob("*.py") if entry.recipe else ():
        for other in before:
            theirs = other.path.absolute().parent / module.name
            named = re.search(rf"\b{re.escape(module.stem)}\b", entry.path.read_text(encoding="utf-8"))
            if named and theirs != module and theirs.exists() and theirs.read_bytes() != module.read_bytes():
                wrong = f"{entry.path}: {module.name} here is another than {theirs}."
                return Entry(entry.path, error=RecipeError(wrong, "Rename one, or regenerate the folders in turn."))
    return entry


class Job:
    """The recipes of one job, and what has become of them so far."""

    def __init__(self, entries: Sequence[Entry], lake: str | None = None) -> None:
        self.entries, self.lake = entries, lake
        self.results = [Result(entry.name) for entry in entries]
        self._stopped = threading.Event()
        self._making: dict[tuple[str, str, str], threading.Lock] = {}
        self._room = threading.Semaphore()

    @property
    def exit_code(self) -> int:
        """That of the first recipe that failed."""
        codes = [one.error.exit_code for one in self.results if one.error]
        return codes[0] if codes else INTERRUPTED if any(one.state == "stopped" for one in self.results) else 0

    def run(self, listener: Callable[[str], Listener], *, address: str | None = None, cpus: int | None = None,
            jobs: int | None = None, recrawl: str | None = None, accept: str | None = None) -> None:  # fmt: skip
        """Brings all up to date. `jobs` work at once; `listener` makes one that watches the dataset of that name."""
        with ExitStack() as stack:
            stores = self._opened(stack)
            if recrawl:
                self._ask_anew(stores, recrawl)
            if any(_is_work(wanted, store) for wanted, store in stores.values()):
                from dsray.engine import connect

                stack.enter_context(connect.connected(address, cpus))
                jobs = jobs or max(2, connect.cpus() // 2)
            self._room = threading.Semaphore(jobs or 1)
            threads = [
                threading.Thread(target=self._bring, args=(at, *stores[at], listener, accept), daemon=True)
                for at in stores
            ]
            for thread in threads:
                thread.start()
            try:
                for thread in threads:
                    thread.join()
            except KeyboardInterrupt:
                self._stopped.set()
                until = time.monotonic() + _PATIENCE_S
                for thread in threads:
                    thread.join(max(0.0, until - time.monotonic()))
                raise

    def _opened(self, stack: ExitStack) -> dict[int, tuple[Recipe, Store]]:
        """Place → recipe and its lake, of those that have both; the others have failed."""
        lakes: dict[str | None, Store | DsrayError] = {}
        found = {}
        for at, entry in enumerate(self.entries):
            error = entry.error
            if entry.recipe:
                url = entry.lake(self.lake)
                if url not in lakes:
                    try:
                        lakes[url] = stack.enter_context(opened(url))
                    except DsrayError as refused:
                        lakes[url] = refused
                lake = lakes[url]
                if not isinstance(lake, DsrayError):
                    found[at] = entry.recipe, lake
                    continue
                error = lake
            self.results[at] = Result(entry.name, "failed", error=error)
        return found

    def _ask_anew(self, stores: dict[int, tuple[Recipe, Store]], revisit: str) -> None:
        """Recipes with the same sources share a crawl."""
        alike: dict[tuple[str, str], list[tuple[Recipe, Store]]] = {}
        for wanted, store in stores.values():
            alike.setdefault((store.url, collect.step(wanted, {}).key), []).append((wanted, store))
        for group in alike.values():
            build.ask_anew([wanted for wanted, _ in group], group[0][1], revisit)

    def _bring(self, at: int, wanted: Recipe, store: Store, listener: Callable[[str], Listener],
               accept: str | None) -> None:  # fmt: skip
        """One dataset, in its thread."""
        result = Result(wanted.dataset)
        with self._room:
            began = time.monotonic()
            try:
                before = versions.latest(store, wanted.dataset)
                ear = _Ear(listener(wanted.dataset), self._stopped)
                outcome = build.run(wanted, store, ear, accept=accept, turn=partial(self._turn, store.url))
                result = _told(wanted, store, outcome, before)
            except KeyboardInterrupt:
                pass
            except DsrayError as error:
                result = replace(result, state="failed", error=error)
            except Exception as error:
                said = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")
                result = replace(result, state="failed", error=DsrayError(f"{said}.", "`dsray run` of it shows more."))
            if not self._stopped.is_set() or result.error is None:  # else Ray went away under it
                self.results[at] = replace(result, seconds=time.monotonic() - began)

    @contextmanager
    def _turn(self, lake: str, step: Step) -> Iterator[None]:
        """One at a time makes a step; those that wait for it leave their place to others."""
        lock = self._making.setdefault((lake, step.stage, step.key), threading.Lock())
        if not lock.acquire(blocking=False):
            self._room.release()
            lock.acquire()
            self._room.acquire()
        try:
            if self._stopped.is_set():
                raise KeyboardInterrupt
            yield
        finally:
            lock.release()


class _Ear:
    """Passes on what a listener is told, until the job is stopped: then it ends the build."""

    def __init__(self, listener: Listener, stopped: threading.Event) -> None:
        self.listener, self.stopped = listener, stopped

    def started(self, step: str) -> None:
        self._check()
        self.listener.started(step)

    def progress(self, step: str, done: int, total: int | None, note: str) -> None:
        self._check()
        self.listener.progress(step, done, total, note)

    def finished(self, step: str, manifest: Manifest, seconds: float, reused: bool) -> None:
        self.listener.finished(step, manifest, seconds, reused)

    def _check(self) -> None:
        if self.stopped.is_set():
            raise KeyboardInterrupt


def _is_work(wanted: Recipe, store: Store) -> bool:
    try:
        return any(step.state != "reuse" for step in planning.plan(wanted, store))
    except DsrayError:  # which the run will meet too
        return False


def _told(wanted: Recipe, store: Store, outcome: Outcome, before: int) -> Result:
    number = int(outcome.made["release"].details["version"])
    if outcome.up_to_date:
        return Result(wanted.dataset, "up to date", number)
    if number == before:
        return Result(wanted.dataset, "came to", number, "the same rows")
    now = version(store, wanted.dataset, number)
    then = version(store, wanted.dataset, before) if before else None
    state = "came to" if "release" in outcome.reused else "made"
    return Result(wanted.dataset, state, number, difference(then, now))


def difference(then: Version | None, now: Version) -> str:
    """`3 added, 1 removed`; of versions that take long to read, how many rows more or less there are, and where:
    `+2 rows: train real +3, test real -1`."""
    after, before = _rows(now), _rows(then) if then else {}
    if then is None:
        return f"{sum(after.values()):,} rows, the first version"
    if sum(receipt.bytes for one in (then, now) for receipt in one.shards()) <= _READ_BYTES:
        groups = compare(then, now).groups
        counts = [(name, sum(getattr(one, of) for one in groups)) for name, of in _COUNTED]
        return ", ".join(f"{count:,} {name}" for name, count in counts if count) or "the same rows"
    more = {part: after.get(part, 0) - before.get(part, 0) for part in sorted({*after, *before}, key=_place)}
    changed = [f"{' '.join(part)} {count:+,}" for part, count in more.items() if count]
    return f"{sum(more.values()):+,} rows" + (f": {', '.join(changed[:4])}" if changed else "")


def _rows(version: Version) -> dict[tuple[str, str], int]:
    rows: dict[str, dict[str, int]] = version.manifest["rows"]
    return {(split, origin): count for split, counts in rows.items() for origin, count in counts.items()}


def _place(part: tuple[str, str]) -> tuple[Any, ...]:
    return SPLITS.index(part[0]), part[1]
