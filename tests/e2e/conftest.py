"""The demo's site, a small recipe, and one undisturbed build, for all whole runs."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dsray import recipe as recipes
from dsray.demo import recipe as demo
from inline import inline
from runs import LIMIT, Silent, lake


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The demo first, while no session's Ray takes a share of its cores."""
    items.sort(key=lambda item: item.path.name != "test_demo.py")


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


@pytest.fixture(scope="session")
def s3_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A real S3 server, and what points to it."""
    from dsray.lake import embedded

    with embedded.serve(tmp_path_factory.mktemp("s3")) as server:
        yield embedded.environment(server)


@pytest.fixture(scope="session")
def built(recipe_text: str, ray_session: None, tmp_path_factory: pytest.TempPathFactory):
    """One undisturbed build on two cores: (lake folder, recipe, outcome)."""
    from dsray import build

    folder = tmp_path_factory.mktemp("built")
    recipe = recipes.parse(recipe_text)
    with lake(folder) as store:
        outcome = build.run(recipe, store, Silent())
    return folder, recipe, outcome


@pytest.fixture(scope="session")
def two_versions(built, recipe_text: str, tmp_path_factory: pytest.TempPathFactory):
    """A lake with digits@v1 and digits@v2, which drops what is a little blurred: (folder, both recipes' texts)."""
    from dsray import build

    folder = tmp_path_factory.mktemp("versions") / "lake"
    shutil.copytree(built[0], folder)
    sharper = recipe_text.replace("blur: {min: 200}", "blur: {min: 5000}")
    with lake(folder) as store, inline():
        version = build.run(recipes.parse(sharper), store, Silent()).made["release"].details["version"]
    assert version == 2
    return folder, recipe_text, sharper


@pytest.fixture
def two(two_versions, tmp_path: Path):
    """A copy of it that a test may damage."""
    folder = tmp_path / "lake"
    shutil.copytree(two_versions[0], folder)
    return folder, *two_versions[1:]
