"""A crawl of 200 hosts with everything that goes wrong on them, through 20 SIGKILLs: what is stored is what may be."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pyarrow as pa
import pytest
from fetching import AGENT, ITEM
from world import World

from dsray import build, recipe
from dsray.lake import manifests, refs, shards
from runs import busy, dsray, lake

pytestmark = pytest.mark.alone

KILLS = 20
LIMIT_S = 420
SLACK_S = 0.5  # that a request may be longer on its way than the one before, on two busy cores
ALOFT = 7  # what was sent before a 429 was read arrives after it: all but one of a host's requests at once


@pytest.fixture(scope="module")
def world():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    with World(port).serve() as served:
        yield served


@pytest.fixture(scope="module")
def crawled(world: World, tmp_path_factory: pytest.TempPathFactory):
    """The lake after the crawl, the recipe, and when what was killed."""
    folder = tmp_path_factory.mktemp("crawl")
    crawl = {
        "start": world.start, "item": ITEM, "user_agent": AGENT, "allow_private": True, "timeout_s": 3, "max_mb": 1,
        "commit_s": 1, "retry": {"times": 3, "wait_s": 0.5}, "budget": {"depth": 30, "host": {"pages": 60}},
    }  # fmt: skip
    path = folder / "recipe.json"  # JSON is YAML
    path.write_text(json.dumps({"dataset": "world", "collect": {"web": {"crawl": crawl}}}))
    return folder / "lake", path, crawl_under_fire(path, folder / "lake")


def crawl_under_fire(path: Path, folder: Path) -> list[tuple[float, str]]:
    """Runs `dsray crawl run` again and again until it is done, and kills fetches, workers and drivers meanwhile."""
    moments = random.Random(20261123)
    victims = ["fetch"] * 12 + ["worker"] * 4 + ["driver"] * 4
    moments.shuffle(victims)
    killed: list[tuple[float, str]] = []
    began = time.monotonic()
    driver = start(path, folder)
    try:
        while time.monotonic() - began < LIMIT_S:
            try:
                driver.wait(timeout=moments.uniform(0.5, 3.0))
            except subprocess.TimeoutExpired:
                if victims and (found := prey(driver.pid, victims[-1])):
                    os.kill(moments.choice(found), signal.SIGKILL)
                    killed.append((time.time(), victims.pop()))
                continue
            if driver.returncode == 0:
                return killed
            assert driver.returncode == -signal.SIGKILL, (folder / "driver.log").read_text()[-2000:]
            driver = start(path, folder)
        raise AssertionError(f"the crawl is not done after {LIMIT_S} s, {len(killed)} kills")
    finally:
        driver.kill()


def start(path: Path, folder: Path) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    with (folder / "driver.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "dsray", "crawl", "run", str(path), "--lake", f"file://{folder}"],
            cwd=path.parent, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


def prey(driver: int, kind: str) -> list[int]:
    """Processes of a kind below the driver, or itself."""
    if kind == "driver":
        return [driver]
    found = []
    for process in psutil.Process(driver).children(recursive=True):
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if ("crawlers.fetch" in line) if kind == "fetch" else busy(line):
            found.append(process.pid)
    return found


def rows_of(folder: Path, path: Path) -> list[dict]:
    with lake(folder) as store:
        last, _ = refs.get(store, "builds/world")
        collected = manifests.find(store, "collect", last["steps"]["collect"])
        return pa.concat_tables(shards.read(store, receipt) for receipt in collected.shards).to_pylist()


def test_what_is_stored_is_what_may_be_reached_and_every_refusal_has_its_evidence(world, crawled):
    folder, path, killed = crawled
    print(Counter(kind for _, kind in killed), "killed")
    assert len(killed) >= KILLS - 2  # the last ones may come too late
    rows = rows_of(folder, path)
    assert len({row["id"] for row in rows}) == len({row["url"] for row in rows}) == len(rows)
    kept = {row["url"]: row["payload"] for row in rows if row["error"] is None}
    assert kept == world.kept
    refused = {row["url"]: (row["error"], json.loads(row["evidence"])) for row in rows if row["error"]}
    assert refused.keys() == world.refused.keys()
    for url, (error, signal_) in world.refused.items():
        told, evidence = refused[url]
        assert (told, evidence["signal"]) == (error, signal_ or evidence["signal"]), url
        assert evidence["value"] is not None and evidence["where"], url


def test_nothing_forbidden_was_asked_and_every_host_was_given_its_time(world, crawled):
    killed = crawled[2]
    hits = world.hits()
    assert len(hits) > len(world.kept)

    def excused(promise: str) -> bool:
        """What a kill makes: work that was not committed is asked again."""
        return promise.split(" ")[1] == "times:" and int(promise.split(" ")[0]) <= 1 + len(killed)

    broken = world.broken(hits, SLACK_S, ALOFT, [moment for moment, _ in killed])
    assert [promise for promise in broken if not excused(promise)] == []


def test_a_crawl_that_is_done_asks_nothing_and_its_status_says_so(world, crawled):
    folder, path, _ = crawled
    before = len(world.hits())
    assert start(path, folder).wait(timeout=120) == 0
    assert len(world.hits()) == before
    shown = dsray("crawl", "status", path, "--lake", f"file://{folder}", cwd=path.parent).stdout
    assert "web: done, crawl 0" in shown and f"kept {len(world.kept):,}" in shown, shown
    with lake(folder) as store:
        (told,) = build.crawls(recipe.load(path), store)
    assert told.state == "done" and told.urls["again"] == 0
    endless = [host.partition(":")[0] for host, _, waiting, _ in told.hosts if waiting]
    assert sorted(endless) == sorted(world.planted["calendar"])  # whose budget is spent
    assert told.outcomes["kept"] == len(world.kept)
