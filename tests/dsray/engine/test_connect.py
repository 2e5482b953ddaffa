"""connect: what a person reads when there is no Ray."""

import signal
import subprocess
import sys

import pytest
import ray

from dsray.engine import connect
from dsray.errors import ClusterError


@pytest.mark.parametrize(
    ("address", "told"),
    [
        (None, "Ray cannot be started here: The raylet died. Run again to go on from here."),
        ("10.0.0.1:6379", "The Ray cluster at 10.0.0.1:6379 cannot be joined: The raylet died. Check the address"),
    ],
)
def test_a_ray_that_does_not_start_is_one_sentence_and_what_to_do(monkeypatch, address, told):
    def fail(*_, **__):
        raise Exception("The raylet died..\nand more")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", fail)
    with pytest.raises(ClusterError) as caught, connect.connected(address):
        pass
    assert str(caught.value).startswith(told)


_KILLS_ITS_RAYLET = """
import psutil, time
from dsray.engine.connect import connected
with connected(cpus=1):
    import ray
    print("made", end="")
    waiting = ray.remote(lambda: time.sleep(60)).remote()
    for process in psutil.Process().children():
        if "/raylet/raylet " in " ".join(process.cmdline()):
            process.kill()
    ray.get(waiting)
"""


def test_a_raylet_that_died_is_one_sentence():
    done = subprocess.run([sys.executable, "-c", _KILLS_ITS_RAYLET], capture_output=True, text=True, timeout=300)
    told = "dsray: Ray's own process on this machine, the raylet, died. Run again to go on from here.\n"
    assert (done.returncode, done.stderr) == (ClusterError.exit_code, told)
    assert done.stdout.startswith("made")  # Ray's own words may follow


_IS_STOPPED = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.default_int_handler)
from dsray.engine.connect import connected
stops = [getattr(signal, name) for name in sys.argv[1:]]
def stop():
    if stops:
        os.kill(os.getpid(), stops.pop())
os.register_at_fork(before=stop)
try:
    with connected(cpus=1):
        print("at work")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
except KeyboardInterrupt:
    print("stopped")
"""


@pytest.mark.parametrize("while_it_starts", [[], ["SIGINT"], ["SIGTERM"]])
def test_who_handles_being_stopped_still_does_with_ray(while_it_starts):
    """Ray's own handlers would print a stack trace, and leave by sys.exit; what a handler raises at a fork is lost."""
    command = [sys.executable, "-c", _IS_STOPPED, *while_it_starts]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite in the background ignores it
    )  # fmt: skip
    said = "stopped\n" if while_it_starts else "at work\nstopped\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")


_NOBODY_ASKS = """
from dsray.engine.connect import connected
with connected(cpus=1):
    import ray
    ray.remote(lambda: 1 / 0).remote()
    ray.get(ray.remote(lambda: 1).remote())  # on the same core, so after it
"""


def test_an_error_that_nobody_asks_for_is_not_told():
    """As Ray's own actor of statistics has, when it was killed with a worker."""
    done = subprocess.run([sys.executable, "-c", _NOBODY_ASKS], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")


_SHUT_DOWN = """
with connected(cpus=1):
    import ray
    ray.shutdown()
    time.sleep(1)
"""

_LEFT_IN_A_THREAD = """
def build():
    with connected(cpus=1):
        begun.set()
        time.sleep(60)
begun = threading.Event()
threading.Thread(target=build, daemon=True).start()
begun.wait()
"""

_SHORT = """
class Late(threading.Thread):
    def run(self):
        time.sleep(1)
        super().run()
connect.Thread = Late
with connected(cpus=1):
    pass
time.sleep(2)
"""


@pytest.mark.parametrize("code", [_SHUT_DOWN, _LEFT_IN_A_THREAD, _SHORT])
def test_a_raylet_that_was_told_to_end_is_no_death(code):
    head = "import threading, time\nfrom dsray.engine import connect\nfrom dsray.engine.connect import connected\n"
    done = subprocess.run([sys.executable, "-c", head + code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "Traceback" not in done.stderr and "raylet" not in done.stderr, done.stderr
