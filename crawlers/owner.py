"""What a child process owes its owner: it dies with it, and its last line on stderr says why it failed."""

import json
import os
import sys
from threading import Thread
from typing import IO, NoReturn

from dsray import errors
from dsray.errors import DsrayError


def die_with(pipe: IO[bytes]) -> None:
    """Ends this process, without clean-up, as soon as `pipe` is at its end: the owner closed it, or was killed."""

    def watch() -> None:
        while os.read(pipe.fileno(), 4096):  # not pipe.read: a lock held at our own exit would abort the interpreter
            pass
        os._exit(1)

    Thread(target=watch, name="owner", daemon=True).start()


def confess(error: DsrayError) -> int:
    """Tells the owner in one JSON line what is wrong and what to do, as the nearest kind that `dsray.errors` has.
    Returns the exit code."""
    kind = next(kind for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
    told = {"error": [error.wrong, error.do], "kind": kind.__name__}
    print(json.dumps(told), file=sys.stderr, flush=True)
    return error.exit_code


def leave(code: int) -> NoReturn:
    """Ends this process with all that it said, but without the interpreter's clean-up, in which Arrow's threads abort
    it when they have just begun (DECISIONS.md)."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def heard(stderr: str, otherwise: DsrayError) -> DsrayError:
    """The error that a child confessed, from all that it wrote on stderr; `otherwise` when it said nothing of use."""
    for line in reversed(stderr.splitlines()):
        try:
            told = json.loads(line)
            kind: type[DsrayError] = getattr(errors, told["kind"])
            return kind(*told["error"])
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return otherwise
