"""`python -m jobs.build recipe.yaml [--lake URL] [--recrawl all|due] [--accept WHY]`: one recipe on its cluster."""

import argparse
import os
from functools import partial
from pathlib import Path

from dsray import build, console, recipe
from dsray.errors import LakeError
from dsray.lake.session import opened
from jobs.ending import ended


def main() -> int:
    """Builds; returns the error's exit code, or 0."""
    parser = argparse.ArgumentParser("jobs.build", description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--lake", help="instead of the recipe's")
    parser.add_argument("--recrawl", choices=["all", "due"], help="ask the sources anew")
    parser.add_argument("--accept", metavar="REASON", help="release synthetic rows although gates fail")
    return ended(partial(_build, parser.parse_args()), "submit it again")


def _build(options: argparse.Namespace) -> int:
    screen = console.console_of()
    wanted = recipe.load(options.recipe)
    lake = options.lake or wanted.lake or os.environ.get("DSRAY_LAKE")
    if not lake:
        raise LakeError("A cluster needs a lake that all its nodes reach.", "Name one in the recipe or by --lake.")
    with opened(lake) as store:
        address = os.environ.get("RAY_ADDRESS", "auto")
        lines = console.Lines(screen)
        outcome = build.run(wanted, store, lines, address=address, recrawl=options.recrawl, accept=options.accept)
        console.summary(screen, outcome)
        screen.print(f"\n{store.url}/{outcome.made['release'].details['prefix']}", highlight=False)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
