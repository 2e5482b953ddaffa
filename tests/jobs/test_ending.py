"""How jobs end: codes and sentences, of all of them, also when they are stopped."""

import signal
import subprocess
import sys

import pytest

from dsray.errors import INTERRUPTED, DsrayError
from jobs import build, ending, forget, regenerate

WAITING = """
import sys, time
from jobs.ending import ended
def work():
    print("at work", flush=True)
    time.sleep(60)
    return 0
sys.exit(ended(work, "submit it again"))
"""


def test_a_job_that_is_stopped_says_how_to_go_on():
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", WAITING], stdout=pipe, stderr=pipe, text=True) as job:
        assert job.stdout and job.stderr and job.stdout.readline() == "at work\n"
        job.send_signal(signal.SIGTERM)
        assert job.stderr.read() == "dsray: Stopped. What is done is kept: submit it again to go on.\n"
        assert job.wait(30) == INTERRUPTED


def test_what_went_wrong_is_a_sentence_and_a_code(capsys, restored_signals):
    def work() -> int:
        raise DsrayError("No.", "Ask again.")

    assert ending.ended(work, "submit it again") == DsrayError("").exit_code
    assert capsys.readouterr().err == "dsray: No. Ask again.\n"
    assert ending.ended(lambda: 3, "submit it again") == 3


@pytest.mark.parametrize(
    ("job", "arguments", "why"),
    [
        (build, ["missing.yaml"], "missing.yaml"),
        (regenerate, ["missing.yaml"], "missing.yaml"),
        (forget, ["--id", "a"], "Name the lake by --lake."),
    ],
    ids=["build", "regenerate", "forget"],
)
def test_every_job_ends_so(job, arguments, why, monkeypatch, capsys, tmp_path, restored_signals):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DSRAY_LAKE", raising=False)
    monkeypatch.setattr(sys, "argv", ["job", *arguments])
    assert job.main() > 0
    assert why in "".join(capsys.readouterr())


@pytest.fixture
def restored_signals():
    was = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, was)
