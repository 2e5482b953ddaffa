"""Whole builds with Ray on a real S3 server: over a bad way to it, and with anybody killed at any moment."""

import random
import re
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from badwire import wire
from dsray.demo import site as gallery
from dsray.errors import ClusterError, LakeError
from dsray.lake import embedded
from dsray.lake.session import opened
from dsray.lake.store import open_store
from killing import start, victims
from runs import surroundings
from toll import Toll, alone

some_or_all = pytest.mark.parametrize(
    "every", [pytest.param(False, id="some"), pytest.param(True, id="all", marks=pytest.mark.soak)]
)
DIGITS = 100
LIMIT_S = 420
"""A run that takes longer hangs."""
VICTIMS = ("driver", "worker", "raylet", "server", "keeper")
EXPECTED = {"": (), "driver": (-signal.SIGKILL,), "worker": (), "raylet": (ClusterError.exit_code,),
            "server": (LakeError.exit_code,), "keeper": (LakeError.exit_code,)}  # fmt: skip
"""Exit codes of a run in which somebody was killed, besides 0."""
RAY_ABORTS = re.compile(r"^\[.+\] (plasma_store_provider|core_worker_process)\.cc:\d+:")
"""Ray, in C++, ends a driver with this when its raylet is killed in the moment in which the driver connects to it."""


@pytest.fixture(scope="module")
def few(recipe_text: str, site: str) -> Iterator[str]:
    """The recipe against a site of few digits: most of a run is Ray's start."""
    with gallery.serve(0, DIGITS) as url:
        yield recipe_text.replace(site, url)


@pytest.fixture(scope="module")
def expected(few: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The release of an undisturbed build."""
    return alone(few, tmp_path_factory.mktemp("alone"))


@some_or_all
def test_builds_over_a_bad_way_to_the_server_end_the_same(few, expected, s3_environment, tmp_path, every):
    recipe, toll = tmp_path / "digits.yaml", Toll("builds on S3 of which 5 % of all requests fail")
    recipe.write_text(few)
    for seed in range(20 if every else 1):
        url = f"s3://lake/bad-{seed}-{every}"
        with wire(s3_environment["AWS_ENDPOINT_URL"], 0.05, seed) as bad:
            there = s3_environment | {"AWS_ENDPOINT_URL": bad.endpoint}
            code = None
            while code != 0:
                driver = start(recipe, "--lake", url, errors=tmp_path / "errors", **there)
                code = driver.wait(timeout=LIMIT_S)
                toll.runs += 1
                said = (tmp_path / "errors").read_text()
                assert code in (0, LakeError.exit_code) and len(said.splitlines()) == bool(code), said
            toll.injected.update(bad.injected)
        with surroundings(s3_environment):
            toll.add(open_store(url), "digits", expected)
    toll.settle()


@some_or_all
@pytest.mark.timeout(4 * 3600)
def test_whoever_is_killed_whenever_a_build_ends_the_same(few, expected, tmp_path, every):
    recipe, toll = tmp_path / "digits.yaml", Toll("kills at random moments of builds on the embedded S3 server")
    recipe.write_text(few)
    chance, kills = random.Random(20261128), list(VICTIMS) * (20 if every else 1)
    chance.shuffle(kills)
    span = 12.0  # seconds that a run takes, as far as is known
    while kills:
        began = time.monotonic()
        if run_under_fire(recipe, kills, chance.uniform(0, span), chance, toll) == 0:
            span = time.monotonic() - began
            judged(tmp_path, expected, toll)
            embedded.stop(tmp_path / ".dsray" / "lake")
            shutil.rmtree(tmp_path / ".dsray")
            print(f"{len(kills)} kills are left, {toll.told()}", flush=True)
    assert run_under_fire(recipe, kills, 0, chance, toll) == 0
    judged(tmp_path, expected, toll)
    toll.settle()


def run_under_fire(recipe: Path, kills: list[str], moment: float, chance: random.Random, toll: Toll) -> int:
    """One run, in which the next of `kills` happens at its moment, or once there is whom to kill. Its exit code."""
    errors = recipe.parent / "errors"
    driver, killed = start(recipe, errors=errors), ""
    toll.runs += 1
    began = time.monotonic()
    while driver.poll() is None and time.monotonic() - began < LIMIT_S:
        time.sleep(0.05)
        if kills and not killed and time.monotonic() - began > moment:
            with suppress(psutil.Error):
                found = victims(psutil.Process(driver.pid), kills[-1])
                if found:
                    chance.choice(found).kill()
                    killed = kills.pop()
                    toll.injected[f"{killed} killed"] += 1
    code, said = driver.poll(), errors.read_text()
    assert code is not None, f"a run with its {killed or 'nobody'} killed hangs"
    if killed == "raylet" and code == 1 and RAY_ABORTS.match(said):
        return code
    assert code in {0, *EXPECTED[killed]}, (killed, said)
    assert len(said.splitlines()) == (code > 0), said
    return code


def judged(folder: Path, expected: dict[str, bytes], toll: Toll) -> None:
    with opened(None, folder / ".dsray") as store:
        toll.add(store, "digits", expected)
