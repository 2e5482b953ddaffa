"""Whole runs as a user starts them, and what they left on a lake."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

LIMIT = 400
"""Digits on the small site."""


def recipe_with(folder: Path, text: str, start: str) -> Path:
    """The recipe against another site."""
    path = folder / "other.yaml"
    path.write_text(re.sub(r"start: \[.*?\]", f"start: [{start}]", text))
    return path


def dsray(
    *arguments: str | Path, cwd: Path, timeout: float = 300, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs the command line as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "dsray", *map(str, arguments)],
        cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip


def said(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one sentence on stderr."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("dsray: "), done.stderr
    return lines[0]


class Silent:
    """A listener that hears the steps and says nothing."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, bool]] = []

    def started(self, step: str) -> None: ...

    def progress(self, step: str, done: int, total: int | None, note: str) -> None: ...

    def finished(self, step: str, manifest, seconds: float, reused: bool) -> None:
        self.steps.append((step, reused))


def busy(line: str) -> bool:
    """Is it the command line of a Ray worker in a task of ours? Ray's own processes and actors begin with a capital."""
    return re.match(r"ray::[a-z_]", line) is not None


@contextmanager
def lake(folder: Path) -> Iterator:
    from dsray.lake.session import opened

    with opened(f"file://{folder}") as store:
        yield store


@contextmanager
def surroundings(values: dict[str, str]) -> Iterator[None]:
    """These environment variables, for a while."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        yield


def release_bytes(folder: Path, dataset: str = "digits") -> dict[str, bytes]:
    """The real and augmented shards of v1, by name within the release."""
    root = folder / "releases" / dataset / "v1"
    found = sorted(root.glob("*/real-*.parquet")) + sorted(root.glob("*/augmented-*.parquet"))
    return {str(path.relative_to(root)): path.read_bytes() for path in found}
