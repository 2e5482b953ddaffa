"""Several drivers at once on one lake, on one recipe and on different ones: a dataset has one release, as if alone."""

from collections.abc import Iterator

import pytest

from dsray.demo import site as gallery
from dsray.lake.store import open_store
from killing import start
from runs import surroundings
from toll import Toll, alone

LIMIT_S = 500
DATASETS = ("digits", "others")


@pytest.fixture(scope="module")
def recipes(recipe_text: str, site: str) -> Iterator[dict[str, str]]:
    """Two recipes that ask the same site, and differ in a threshold."""
    with gallery.serve(0, 100) as url:
        one = recipe_text.replace(site, url)
        other = one.replace("dataset: digits", "dataset: others").replace("blur: {min: 200}", "blur: {min: 250}")
        yield {"digits": one, "others": other}


@pytest.fixture(scope="module")
def expected(recipes: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    return {name: alone(text, tmp_path_factory.mktemp("alone")) for name, text in recipes.items()}


@pytest.mark.parametrize(
    ("each", "rounds"), [pytest.param(2, 1, id="two"), pytest.param(4, 5, id="four", marks=pytest.mark.soak)]
)
def test_drivers_at_once_end_as_if_alone_and_say_nothing(recipes, expected, s3_environment, tmp_path, each, rounds):
    toll = Toll(f"{each} drivers at once on each of two recipes of one lake")
    for number in range(rounds):
        url = f"s3://lake/drivers-{each}-{number}"
        drivers = []
        for name in DATASETS * each:
            folder = tmp_path / f"{number}-{len(drivers)}"
            folder.mkdir()
            (folder / "recipe.yaml").write_text(recipes[name])
            said = ("--lake", url, "--cpus", "2")
            drivers.append(start(folder / "recipe.yaml", *said, errors=folder / "errors", **s3_environment))
        codes = [driver.wait(timeout=LIMIT_S) for driver in drivers]
        toll.runs += len(drivers)
        errors = [path.read_text() for path in sorted(tmp_path.glob(f"{number}-*/errors"))]
        assert (codes, errors) == ([0] * len(drivers), [""] * len(drivers))
        with surroundings(s3_environment):
            store = open_store(url)
            for name in DATASETS:
                toll.add(store, name, expected[name])
                assert {entry.name.split("/")[2] for entry in store.list(f"releases/{name}/")} == {"v1"}
    toll.settle()
