"""Builds that are crashed, killed and refused, and run again: how many end with the release of an undisturbed build.

Runs the tests that do it, at every point they know: a crash before and after each operation of a build, and between the
steps that a file system takes; operations that fail; a bad way to a real S3 server; SIGKILL of driver, workers, raylet
and server; drivers at once. --quick takes the few points that `make test` takes.
"""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import protocol

ROOT = Path(__file__).parents[1]
TESTS = ("tests/e2e/test_every_operation.py", "tests/e2e/test_faults.py", "tests/e2e/test_drivers.py")


def tolls(quick: bool) -> Iterator[dict[str, Any]]:
    """What each test counted, as soon as it ends. Raises CalledProcessError after the last when one failed."""
    which = "not soak" if quick else "soak"
    command = [sys.executable, "-m", "pytest", "-s", "-m", which, "--timeout", "14400", *TESTS]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout is not None
        for line in tests.stdout:
            if line.startswith("toll {"):
                yield json.loads(line.removeprefix("toll "))
            else:
                print(line, end="", file=sys.stderr)
    if tests.returncode:
        raise subprocess.CalledProcessError(tests.returncode, command)


def main() -> int:
    quick = protocol.quick(__doc__)
    total: Counter[str] = Counter()
    whole = True
    try:
        for one in tolls(quick):
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in one["injected"].items())
            print(
                f"{one['what']}: {one['builds']:,} builds in {one['runs']:,} runs; {kinds or 'no faults'}", flush=True
            )
            total.update({name: one[name] for name in ("builds", "runs", "lost", "doubled", "wrong")})
            total["faults"] += sum(one["injected"].values())
    except subprocess.CalledProcessError:
        whole = False
    wrong = f"{total['lost']} lost rows, {total['doubled']} duplicate rows, {total['wrong']} wrong releases"
    print(f"{total['faults']:,} faults in {total['builds']:,} builds of {total['runs']:,} runs: {wrong}")
    right = total["builds"] - total["wrong"] if whole else 0
    return protocol.verdict("faults", right, total["builds"], right / max(1, total["builds"]), 1.0, "builds")


if __name__ == "__main__":
    sys.exit(main())
