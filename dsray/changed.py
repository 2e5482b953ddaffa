"""What is different between two JSON values, as dotted paths: what a plan and a diff say of parameters and recipes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_LONGEST = 40


@dataclass(frozen=True)
class Change:
    """One value that is different; None where it is not set."""

    path: str
    before: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.path}: {_short(self.before)} → {_short(self.now)}"


def changes(before: Any, now: Any, path: str = "") -> Iterator[Change]:
    """Every difference, by path. A value that is not set and one that is None are the same."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            yield from changes(before.get(key), now.get(key), f"{path}.{key}" if path else key)
    elif before != now and not (isinstance(before, list) and list(now or []) == before):
        yield Change(path, before, now)


def _short(value: Any) -> str:
    text = "unset" if value is None else str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
