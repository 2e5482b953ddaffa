"""Whole runs: the demo's site, a small recipe, and builds as a user starts them."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dsray import recipe as recipes
from dsray.demo import recipe as demo

LIMIT = 400


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """The demo's gallery with a few hundred digits, on a free port."""
    from dsray.demo import site as gallery

    with gallery.serve(0, LIMIT) as url:
        yield url


@pytest.fixture(scope="session")
def recipe_text(site: str) -> str:
    """The demo's recipe without models, against the small site."""
    text = demo.text().replace("http://127.0.0.1:8900/", site)
    head, tail = text.split("synthesize:")[0], text.split("release:")[1]
    return f"{head}release:{tail}"


@pytest.fixture
def recipe_file(recipe_text: str, tmp_path: Path) -> Path:
    path = tmp_path / "digits.yaml"
    path.write_text(recipe_text)
    return path


def recipe_with(folder: Path, text: str, start: str) -> Path:
    """The recipe against another site."""
    path = folder / "other.yaml"
    path.write_text(re.sub(r"start: \[.*?\]", f"start: [{start}]", text))
    return path


@pytest.fixture(scope="session")
def s3_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A real S3 server, and what points to it."""
    from dsray.lake import embedded

    with embedded.serve(tmp_path_factory.mktemp("s3")) as server:
        yield embedded.environment(server)


def dsray(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the command line as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "dsray", *map(str, arguments)],
        cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


class Silent:
    """A listener that hears the steps and says nothing."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, bool]] = []

    def started(self, step: str) -> None: ...

    def progress(self, step: str, done: int, total: int | None, note: str) -> None: ...

    def finished(self, step: str, manifest, seconds: float, reused: bool) -> None:
        self.steps.append((step, reused))


@contextmanager
def lake(folder: Path) -> Iterator:
    from dsray.lake.session import opened

    with opened(f"file://{folder}") as store:
        yield store


def release_bytes(folder: Path, dataset: str = "digits") -> dict[str, bytes]:
    """The real and augmented shards of v1, by name within the release."""
    root = folder / "releases" / dataset / "v1"
    found = sorted(root.glob("*/real-*.parquet")) + sorted(root.glob("*/augmented-*.parquet"))
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


@pytest.fixture(scope="session")
def built(recipe_text: str, ray_session: None, tmp_path_factory: pytest.TempPathFactory):
    """One undisturbed build on two cores: (lake folder, recipe, outcome)."""
    from dsray import build

    folder = tmp_path_factory.mktemp("built")
    recipe = recipes.parse(recipe_text)
    with lake(folder) as store:
        outcome = build.run(recipe, store, Silent())
    return folder, recipe, outcome
