"""One decode of a payload, for all that looks at it. Any bytes at all end as a row, in bounded time and memory."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from dsray.errors import DsrayError
from dsray.kinds import Frame, Kind, Touch, Undecodable
from dsray.stages.child import in_child

_ROW_LIMIT_S = 60
_ROW_LIMIT_BYTES = 4 * 2**30  # beyond what the worker has mapped: Ray's object store alone may be more

Own = Mapping[str, Callable[[Any], float]]
"""Signals of the recipe's own."""


class Form(NamedTuple):
    """A payload in its canonical form, or why it has none."""

    media: bytes | None = None
    frame: Frame | None = None
    error: str | None = None


class Seen(NamedTuple):
    """What one decode came to; None for what was not asked for."""

    facts: dict[str, Any] | None = None
    form: Form | None = None


def looks(
    payloads: Iterable[bytes | None],
    of_kind: Kind,
    own: Own | None,
    spec: dict[str, Any] | None,
    careful: bool,
    touches: Sequence[Touch] = (),
) -> list[Seen]:
    """Facts of every payload where `own` is given, be it empty, and its form where `spec` is.

    With `careful` each one has a child process with limits, and one that kills it is `crashed`.
    """
    look = careful_look if careful else seen
    return [look(payload, of_kind, own, spec, touches) for payload in payloads]


def seen(
    payload: bytes | None, of_kind: Kind, own: Own | None, spec: dict[str, Any] | None, touches: Sequence[Touch] = ()
) -> Seen:
    """One payload. Raises only what a user must mend about `spec`."""
    try:
        decoded = of_kind.decode(payload or b"")
    except Exception as error:  # any bytes at all must end as a row
        return failed(error.reason if isinstance(error, Undecodable) else _failed(error), own, spec)
    facts = None if own is None else _facts(decoded, of_kind, own)
    return Seen(facts, None if spec is None else _form(decoded, of_kind, spec, touches))


def failed(reason: str, own: Own | None, spec: dict[str, Any] | None) -> Seen:
    """A payload that nothing can be said of."""
    return Seen(None if own is None else {"error": reason}, None if spec is None else Form(error=reason))


def _facts(decoded: Any, of_kind: Kind, own: Own) -> dict[str, Any]:
    try:
        return of_kind.measure(decoded, own)
    except Exception as error:
        return {"error": _failed(error)}


def _form(decoded: Any, of_kind: Kind, spec: dict[str, Any], touches: Sequence[Touch]) -> Form:
    try:
        return Form(*of_kind.render(decoded, spec, touches))
    except DsrayError:
        raise
    except Exception as error:
        return Form(error=_failed(error))


def _failed(error: Exception) -> str:
    return f"failed: {type(error).__name__}"


def careful_look(
    payload: bytes | None, of_kind: Kind, own: Own | None, spec: dict[str, Any] | None, touches: Sequence[Touch] = ()
) -> Seen:
    """One payload, seen in a process of its own with limits of memory and time."""
    found: Seen | None = in_child(_limited, payload, of_kind, own, spec, touches, start="fork", seconds=_ROW_LIMIT_S)
    return failed("crashed", own, spec) if found is None else found


def _limited(*asked: Any) -> Seen:
    import resource

    with suppress(OSError):  # only Linux says it, and only there this limit holds
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)  # of whoever started us: nobody may raise it
        most = mapped + _ROW_LIMIT_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return seen(*asked)
