"""`python -m jobs.forget --lake URL --url U --reason WHY --yes`: the options of `dsray forget`, on its cluster."""

import argparse
import os
from functools import partial

from dsray import forgetting
from dsray.errors import LakeError
from dsray.forget.options import options
from dsray.lake.session import opened
from jobs.ending import ended


def main() -> int:
    """Forgets; returns the error's exit code, or 0."""
    parser = argparse.ArgumentParser("jobs.forget", description=__doc__)
    parser.add_argument("--lake", default=os.environ.get("DSRAY_LAKE"), help="s3://bucket/prefix; default: DSRAY_LAKE")
    options(parser)
    return ended(partial(_forget, parser.parse_args()), "submit it with --continue")


def _forget(said: argparse.Namespace) -> int:
    if not said.lake:
        raise LakeError("Whose rows?", "Name the lake by --lake.")
    with opened(said.lake) as store:
        return forgetting.run(said, store, os.environ.get("RAY_ADDRESS", "auto"))


if __name__ == "__main__":
    raise SystemExit(main())
