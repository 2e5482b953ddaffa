"""The same build on a running Ray cluster, through its Jobs API."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from dsray.errors import INTERRUPTED
from killing import family, line_of
from runs import dsray, release_bytes

RAY_FOLDER = "/tmp/ray-submit-test"
"""Short: Ray puts sockets in it, whose paths have a limit."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A head node of its own beside the session's Ray: its dashboard's address, and the environment that may use it."""
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        port, dashboard = one.getsockname()[1], two.getsockname()[1]
    token = tmp_path / "token"
    token.write_text("0123456789abcdef" * 4)
    token.chmod(0o600)
    folder = Path(sys.executable).parent
    environment = {
        **os.environ,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "PATH": f"{folder}:{os.environ['PATH']}",
    }
    environment.pop("RAY_ADDRESS", None)
    head = subprocess.Popen(
        [folder / "ray", "start", "--head", "--block", "--num-cpus=2", f"--port={port}", "--include-dashboard=true",
         "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", f"--temp-dir={RAY_FOLDER}",
         "--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0",
         "--object-store-memory=150000000"],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        wait_for(dashboard)
        yield f"http://127.0.0.1:{dashboard}", environment
    finally:
        head.terminate()
        try:
            head.wait(timeout=5)
        except subprocess.TimeoutExpired:
            os.killpg(head.pid, 9)
        shutil.rmtree(RAY_FOLDER, ignore_errors=True)


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.3)
    raise TimeoutError("the dashboard did not come up")


def test_a_submitted_recipe_gives_the_same_bytes(cluster, built, recipe_file, tmp_path):
    address, environment = cluster
    lake = tmp_path / "lake"
    done = dsray("submit", recipe_file, "--address", address, "--lake", f"file://{lake}", cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is done" in done.stdout
    assert release_bytes(lake) == release_bytes(built[0])
    bad = recipe_file.with_name("bad.yaml")
    bad.write_text(
        recipe_file.read_text().replace("http://127.0.0.1", "http://192.0.2.1").replace("allow_private: true", "")
    )
    refused = dsray("submit", bad, "--address", address, "--lake", f"file://{lake}", cwd=tmp_path, **environment)
    assert refused.returncode == 2 and "contact" in refused.stderr


def test_who_follows_a_job_may_leave_it_and_a_stopped_one_goes_on(cluster, built, recipe_file, tmp_path):
    address, environment = cluster
    lake = tmp_path / "lake"
    arguments = ["submit", str(recipe_file), "--address", address, "--lake", f"file://{lake}"]
    follower = subprocess.Popen(
        [sys.executable, "-m", "dsray", *arguments], cwd=tmp_path, env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite in the background ignores it
    )  # fmt: skip
    until(fetching)
    follower.send_signal(signal.SIGINT)
    _, told = follower.communicate(timeout=30)
    sentence = rf"dsray: Job (\S+) goes on without us: `ray job stop \1 --address {address}` ends it\.\n"
    said = re.fullmatch(sentence, told)
    assert follower.returncode == INTERRUPTED and said, told
    ray = [Path(sys.executable).parent / "ray", "job"]
    status = ["status", said[1], "--address", address]
    asked = partial(subprocess.run, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert "is currently running" in asked([*ray, *status]).stdout
    asked([*ray, "stop", said[1], "--address", address])
    assert "was stopped" in asked([*ray, *status]).stdout
    log = asked([*ray, "logs", said[1], "--address", address]).stdout
    assert "dsray: Stopped. What is done is kept: submit it again to go on." in log
    until(lambda: not fetching())
    done = dsray(*arguments, cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert release_bytes(lake) == release_bytes(built[0])


def fetching() -> list[psutil.Process]:
    """The fetch processes of the cluster's job."""
    raylets = [
        one for one in psutil.process_iter(["name"]) if one.info["name"] == "raylet" and RAY_FOLDER in line_of(one)
    ]
    return [one for raylet in raylets for one in family(raylet) if "crawlers.fetch" in line_of(one)]


def until(there: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_cluster_that_is_not_there_is_one_sentence(recipe_file, tmp_path):
    done = dsray("submit", recipe_file, "--address", "http://127.0.0.1:9", "--lake", f"file://{tmp_path}", cwd=tmp_path)
    assert done.returncode == 6
    assert "did not take the job" in done.stderr and "Traceback" not in done.stderr


def test_a_cluster_needs_a_lake(recipe_file, tmp_path):
    done = dsray("submit", recipe_file, "--address", "http://127.0.0.1:9", cwd=tmp_path)
    assert done.returncode == 3 and "needs a lake" in done.stderr
