"""A process of its own for what may kill one: the caller lives on."""

import multiprocessing
from collections.abc import Callable
from typing import Any, Literal


def in_child(make: Callable[..., Any], *arguments: Any, start: Literal["fork", "spawn"], seconds: float) -> Any:
    """What `make` returns; None when its process dies, or takes longer than that. Raises what it raises."""
    context: Any = multiprocessing.get_context(start)
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_send, args=(there, make, *arguments), daemon=True)
    child.start()
    there.close()
    try:
        found = here.recv() if here.poll(seconds) else None
    except EOFError:
        return None
    finally:
        child.kill()
        child.join(timeout=10)
        here.close()
    if isinstance(found, Exception):
        raise found
    return found


def _send(there: Any, make: Callable[..., Any], *arguments: Any) -> None:
    try:
        made = make(*arguments)
    except Exception as error:
        made = error
    there.send(made)
    there.close()
