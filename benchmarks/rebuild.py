"""`dsray run` again with nothing changed, a process from start to end: at most 2 s, Ray not started.

On a file lake, and on the embedded S3 lake, whose server each run starts and stops. The slower of the two counts.
--quick builds 200 digits without models; else 5,000 digits with two models of the smallest preset.
"""

import os
import re
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks import protocol
from dsray.demo import recipe, site
from dsray.lake import embedded

SECONDS = 2.0
HEAVY = {"ray", "torch", "scrapy"}


def text(start: str, models: bool) -> str:
    """The demo's recipe against the site at `start`, without the gates that small models fail."""
    whole = recipe.text().replace(f"http://127.0.0.1:{recipe.PORT}/", start)
    if models:
        ungated = re.sub(r"evaluate:\n.*\n", "evaluate: {gates: {}}\n", whole)
        return ungated.replace("preset: quick, rows: 2000", "preset: tiny, rows: 200")
    return whole.split("synthesize:")[0] + "release:" + whole.split("release:")[1]


def run(folder: Path, lake: list[str], *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options, "-m", "dsray", "run", "digits.yaml", *lake]
    python_path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    plain = {name: value for name, value in os.environ.items() if name not in ("DSRAY_LAKE", "RAY_ADDRESS")}
    done = subprocess.run(
        command, cwd=folder, env={**plain, "PYTHONPATH": python_path}, capture_output=True, text=True, timeout=1800
    )
    if done.returncode:
        raise SystemExit(f"dsray run failed: {done.stderr[-2000:]}")
    return done


def again(folder: Path, lake: list[str]) -> None:
    assert "Everything is up to date" in run(folder, lake).stdout


def imported(folder: Path, lake: list[str]) -> set[str]:
    """The heavy packages that a run in which nothing is left to do imports after all."""
    lines = run(folder, lake, "-X", "importtime").stderr.splitlines()
    return HEAVY & {line.rsplit("|", 1)[-1].strip() for line in lines if line.startswith("import time")}


def main() -> int:
    quick = protocol.quick(__doc__)
    with tempfile.TemporaryDirectory(prefix="dsray-bench-") as name:
        folder = Path(name)
        lakes = {"file": ["--lake", f"file://{folder / 'files'}"], "embedded S3": []}
        with site.serve(0, 200 if quick else None) as start:
            (folder / "digits.yaml").write_text(text(start, models=not quick), encoding="utf-8")
            for lake in lakes.values():
                run(folder, lake)
        heavy = set().union(*(imported(folder, lake) for lake in lakes.values()))
        medians = protocol.medians(5 if quick else 15, *(partial(again, folder, lake) for lake in lakes.values()))
        server = folder / ".dsray" / "lake"
        with embedded.serve(server):
            embedded.stop(server)  # which waits for its end, so that it writes nothing after the folder has gone
    print(", ".join(f"{seconds:.2f} s on the {lake} lake" for lake, seconds in zip(lakes, medians, strict=True)))
    if heavy:
        print(f"Nothing was left to do, but these were imported: {', '.join(sorted(heavy))}.")
    slower = max(medians)
    return protocol.verdict("rebuild", slower, SECONDS, 0.0 if heavy else SECONDS / slower, 1.0, "s")


if __name__ == "__main__":
    sys.exit(main())
