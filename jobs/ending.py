"""How a job ends: with an exit code, and a sentence for what went wrong."""

import signal
import sys
from collections.abc import Callable

from dsray.errors import INTERRUPTED, DsrayError


def ended(work: Callable[[], int], go_on: str) -> int:
    """The exit code of `work`, or of the error that it raised. A job that is stopped (a cluster sends SIGTERM) says how
    to `go_on`."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return work()
    except DsrayError as error:
        print(f"dsray: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"dsray: Stopped. What is done is kept: {go_on} to go on.", file=sys.stderr)
        return INTERRUPTED
