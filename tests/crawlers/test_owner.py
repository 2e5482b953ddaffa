"""crawlers.owner: the last words of a child count, however it ends."""

import json
import subprocess
import sys
from pathlib import Path
from time import sleep, time
from typing import Any

import pytest

from dsray.errors import SourceError
from dsray.stages.collect import fetch

_LEAVES = """
import atexit, sys
from crawlers.owner import leave
atexit.register(print, "cleaned up")
sys.stdout.write("all")
sys.stderr.write("said")
leave(4)
"""


def test_who_leaves_has_said_all_and_cleans_up_nothing():
    done = subprocess.run([sys.executable, "-c", _LEAVES], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (4, "all", "said")


def test_what_a_child_confessed_counts_though_it_died_of_a_signal(tmp_path: Path, monkeypatch):
    """A process that is killed is followed by another; one that said what is wrong is not."""
    child = tmp_path / "child"
    told = '{"error": ["The site is closed.", "Ask later."], "kind": "SourceError"}'
    child.write_text(f"#!/bin/sh\nread job\necho >> {tmp_path}/runs\necho '{told}' >&2\nkill -ABRT $$\n")
    child.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(child))
    with pytest.raises(SourceError, match="The site is closed"):
        fetch({"seconds": 10, "timeout_s": 1, "ends_at": time() + 60}, print)
    assert (tmp_path / "runs").read_text() == "\n"


def test_a_child_that_was_killed_before_it_read_its_job_is_followed_by_another(tmp_path: Path, monkeypatch):
    child = tmp_path / "child"
    child.write_text(f"""#!/bin/sh
if [ ! -e {tmp_path}/killed ]; then touch {tmp_path}/killed; kill -KILL $$; fi
read job
echo '{{"done": {{"left": 0}}}}'
""")
    child.chmod(0o755)
    written = json.dumps

    def late(job: Any) -> str:
        sleep(0.3)  # the child is dead by now
        return written(job)

    monkeypatch.setattr(sys, "executable", str(child))
    monkeypatch.setattr("dsray.stages.collect.json.dumps", late)
    assert fetch({"seconds": 10, "timeout_s": 1, "ends_at": time() + 60}, print) == {"left": 0}
