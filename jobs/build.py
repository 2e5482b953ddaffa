"""`python -m jobs.build recipe.yaml [--lake URL] [--recrawl all|due]`: one recipe on the cluster that runs this job."""

import argparse
import os
import sys
from pathlib import Path

from dsray import build, console, recipe
from dsray.errors import DsrayError, LakeError
from dsray.lake.session import opened


def main() -> int:
    """Builds; returns the error's exit code, or 0."""
    parser = argparse.ArgumentParser("jobs.build", description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--lake", help="instead of the recipe's")
    parser.add_argument("--recrawl", choices=["all", "due"], help="ask the sources anew")
    options = parser.parse_args()
    screen = console.console_of()
    try:
        wanted = recipe.load(options.recipe)
        lake = options.lake or wanted.lake or os.environ.get("DSRAY_LAKE")
        if not lake:
            raise LakeError("A cluster needs a lake that all its nodes reach.", "Name one in the recipe or by --lake.")
        with opened(lake) as store:
            address = os.environ.get("RAY_ADDRESS", "auto")
            outcome = build.run(wanted, store, console.Lines(screen), address=address, recrawl=options.recrawl)
            console.summary(screen, outcome)
            screen.print(f"\n{store.url}/{outcome.made['release'].details['prefix']}", highlight=False)
    except DsrayError as error:
        print(f"dsray: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
