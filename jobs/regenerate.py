"""`python -m jobs.regenerate recipes/ [more.yaml ...] [--lake URL] [--recrawl all|due] [--jobs N] [--accept WHY]`: many
recipes on their cluster, as one job."""

import argparse
import os
from functools import partial
from pathlib import Path

from dsray import console, regenerate, roster
from dsray.errors import LakeError
from jobs.ending import ended


def main() -> int:
    """Builds all; returns the exit code of the first that failed, or 0."""
    parser = argparse.ArgumentParser("jobs.regenerate", description=__doc__)
    parser.add_argument("recipes", type=Path, nargs="+", help="recipes, and folders of them")
    parser.add_argument("--lake", help="instead of the recipes'")
    parser.add_argument("--recrawl", choices=["all", "due"], help="ask the sources anew")
    parser.add_argument("--jobs", type=int, help="datasets at once")
    parser.add_argument("--accept", metavar="REASON", help="release synthetic rows although gates fail")
    return ended(partial(_regenerate, parser.parse_args()), "submit it again")


def _regenerate(options: argparse.Namespace) -> int:
    screen = console.console_of()
    job = regenerate.Job(regenerate.load(options.recipes), options.lake)
    if not all(entry.lake(options.lake) for entry in job.entries if entry.recipe):
        raise LakeError("A cluster needs a lake that all its nodes reach.", "Name one in each recipe or by --lake.")
    try:
        job.run(roster.listeners(screen, job.entries), address=os.environ.get("RAY_ADDRESS", "auto"),
                jobs=options.jobs, recrawl=options.recrawl, accept=options.accept)  # fmt: skip
    finally:
        roster.summary(screen, job.results)
    return job.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
