"""SIGKILL at random points: run again, and the real and augmented shards are those of an undisturbed run."""

import os
import random
import signal
import subprocess
import sys
import time

import psutil
import pytest

from dsray.errors import INTERRUPTED
from dsray.lake import manifests
from killing import family, gone, is_busy_worker, start
from runs import dsray, lake, release_bytes

KILLS = 2


def test_a_killed_driver_goes_on_and_ends_with_the_same_bytes(built, recipe_file, tmp_path):
    folder = tmp_path / "lake"
    moments = random.Random(20261123)
    for _ in range(KILLS):
        driver = start(recipe_file, "--lake", f"file://{folder}")
        try:
            driver.wait(timeout=moments.uniform(2, 14))
        except subprocess.TimeoutExpired:
            everybody = family(psutil.Process(driver.pid))
            driver.kill()
            driver.wait()
            assert gone(everybody, 30), "a killed driver left processes behind"
    done = dsray("run", recipe_file, "--lake", f"file://{folder}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert release_bytes(folder) == release_bytes(built[0])
    with lake(folder) as store:
        for entry in store.list("stages/"):
            _, stage, file = entry.name.split("/")
            counts = manifests.find(store, stage, file.removesuffix(".json")).counts
            assert counts["in"] == counts["kept"] + counts["quarantined"], stage


def test_killed_workers_are_replaced_and_nothing_is_lost(built, recipe_file, tmp_path):
    folder = tmp_path / "lake"
    driver = start(recipe_file, "--lake", f"file://{folder}")
    killed = 0
    moments = random.Random(7)
    deadline = time.monotonic() + 120
    while driver.poll() is None and time.monotonic() < deadline:
        time.sleep(moments.uniform(0.3, 1.0))
        workers = [p for p in family(psutil.Process(driver.pid)) if is_busy_worker(p)]
        if workers and killed < 4:
            os.kill(moments.choice(workers).pid, signal.SIGKILL)
            killed += 1
    assert driver.poll() == 0
    assert killed >= 1, "no worker was there to kill"
    assert release_bytes(folder) == release_bytes(built[0])


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_who_is_stopped_stops_at_once_with_one_sentence_and_leaves_nothing(recipe_file, tmp_path, how):
    driver = subprocess.Popen(
        [sys.executable, "-m", "dsray", "run", str(recipe_file), "--lake", f"file://{tmp_path / 'lake'}"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite in the background ignores it
    )  # fmt: skip
    time.sleep(6)
    everybody = family(psutil.Process(driver.pid))
    driver.send_signal(how)
    _, errors = driver.communicate(timeout=60)
    assert errors == "dsray: Stopped. What is done is kept: run the same command to go on.\n"
    assert driver.returncode == INTERRUPTED
    assert gone(everybody, 30)


@pytest.fixture(autouse=True)
def no_ray_address(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
