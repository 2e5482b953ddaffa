"""Refs: the only objects that change, small JSON documents moved by compare-and-swap."""

import json
import random
import time
from collections.abc import Callable
from typing import Any

from dsray import keys
from dsray.errors import LakeError
from dsray.lake.store import Conflict, Missing, Store

Value = dict[str, Any]

_TRIES = 200
_PAUSES_S = (0.005, 0.25)  # the first and the longest; each is drawn from zero to that


def get(store: Store, name: str) -> tuple[Value | None, str | None]:
    """The ref's value and etag; both None when there is none. Raises LakeError on one that cannot be read."""
    try:
        data, etag = store.get(_object(name))
    except Missing:
        return None, None
    try:
        value = json.loads(data)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise LakeError(f"{store.url}/{_object(name)} is not a ref.", "Delete it and run again.")
    return value, etag


def update(store: Store, name: str, change: Callable[[Value | None], Value]) -> Value:
    """Moves a ref to `change(its value)` and returns that. `change` may be called again, and must not count its calls.

    Raises LakeError when others move the ref all the time.
    """
    pause = _PAUSES_S[0]
    for _ in range(_TRIES):
        value, etag = get(store, name)
        changed = change(value)
        if changed == value:
            return changed
        try:
            store.swap(_object(name), keys.canonical(changed), etag)
            return changed
        except Conflict:
            time.sleep(random.uniform(0, pause))
            pause = min(2 * pause, _PAUSES_S[1])
    raise LakeError(
        f"{store.url}/{_object(name)} was changed by others {_TRIES} times in a row.", "Run again when they are done."
    )


def _object(name: str) -> str:
    return f"refs/{name}.json"
