"""Rules that the tests of label name by `module:function`."""

from typing import Any


def bright(row: dict[str, Any]) -> str | None:
    """From a fact."""
    if row["brightness"] is None:
        return None
    return "bright" if row["brightness"] > 40 else "dark"


def sure(row: dict[str, Any]) -> tuple[str, float]:
    """From a text, with a confidence."""
    return row["caption"][-1], 0.75


def heavy(row: dict[str, Any]) -> str:
    """From the payload."""
    return "big" if len(row["payload"]) > 200 else "small"


def odd(row: dict[str, Any]) -> Any:
    """Wrong in many ways."""
    return {"1": 3, "2": ("x", 2.0), "3": "", "4": None, "5": ("y", 1.0)}.get(row["caption"][-1], "z")


def nosy(row: dict[str, Any]) -> str:
    """Says which columns it gets, and spoils them."""
    found = ",".join(sorted(row))
    row.clear()
    return found
