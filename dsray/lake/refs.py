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

_MEND = {
    "builds/": "Bring it back from a copy of the lake, or delete it: then runs begin with the first crawl again.",
    "releases/": "Bring it back from a copy of the lake: it alone says which versions there are.",
    "crawls/": "Bring it back from a copy of the lake, or delete it: then the next crawl fetches everything anew.",
}
"""What a ref holds that nothing else does, by where it lies."""

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
        raise broken(store, name)
    return value, etag


def broken(store: Store, name: str) -> LakeError:
    """The error for a ref that does not say what it should."""
    mend = next((words for folder, words in _MEND.items() if name.startswith(folder)), "Delete it and run again.")
    return LakeError(f"{store.url}/{_object(name)} is not a ref.", mend)


def update(store: Store, name: str, change: Callable[[Value | None], Value]) -> Value:
    """Moves a ref to `change(its value)` and returns that. `change` may be called again, on a value that has its change
    already too: an answer was lost, and another moved the ref before we asked again. So it sets, and never adds.

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
