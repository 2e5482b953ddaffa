"""`python -m jobs.forget --lake URL --url U --reason WHY --yes`: the options of `dsray forget`, on its cluster."""

import argparse
import os
import sys

from dsray import forgetting
from dsray.errors import INTERRUPTED, DsrayError, LakeError
from dsray.forget.options import options
from dsray.lake.session import opened


def main() -> int:
    """Forgets; returns the error's exit code, or 0."""
    parser = argparse.ArgumentParser("jobs.forget", description=__doc__)
    parser.add_argument("--lake", default=os.environ.get("DSRAY_LAKE"), help="s3://bucket/prefix; default: DSRAY_LAKE")
    options(parser)
    said = parser.parse_args()
    try:
        if not said.lake:
            raise LakeError("Whose rows?", "Name the lake by --lake.")
        with opened(said.lake) as store:
            return forgetting.run(said, store, os.environ.get("RAY_ADDRESS", "auto"))
    except DsrayError as error:
        print(f"dsray: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("dsray: Stopped. What is done is kept: submit it with --continue to go on.", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    raise SystemExit(main())
