"""`python -m jobs.regenerate recipes/ [more.yaml ...] [--lake URL] [--recrawl all|due] [--jobs N] [--accept WHY]`: many
recipes on their cluster, as one job."""

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import Any

from dsray import console, regenerate, roster
from dsray.errors import INTERRUPTED, DsrayError, LakeError


def main() -> int:
    """Builds all; returns the exit code of the first that failed, or 0."""
    parser = argparse.ArgumentParser("jobs.regenerate", description=__doc__)
    parser.add_argument("recipes", type=Path, nargs="+", help="recipes, and folders of them")
    parser.add_argument("--lake", help="instead of the recipes'")
    parser.add_argument("--recrawl", choices=["all", "due"], help="ask the sources anew")
    parser.add_argument("--jobs", type=int, help="datasets at once")
    parser.add_argument("--accept", metavar="REASON", help="release synthetic rows although gates fail")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    screen = console.console_of()
    try:
        job = regenerate.Job(regenerate.load(options.recipes), options.lake)
        if not all(entry.lake(options.lake) for entry in job.entries if entry.recipe):
            raise LakeError("A cluster needs a lake that all its nodes reach.", "Name one in each recipe or by --lake.")
        try:
            job.run(roster.listeners(screen, job.entries), address=os.environ.get("RAY_ADDRESS", "auto"),
                    jobs=options.jobs, recrawl=options.recrawl, accept=options.accept)  # fmt: skip
        finally:
            roster.summary(screen, job.results)
    except DsrayError as error:
        print(f"dsray: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("dsray: Stopped. What is done is kept: submit again to go on.", file=sys.stderr)
        return INTERRUPTED
    return job.exit_code


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    raise SystemExit(main())
