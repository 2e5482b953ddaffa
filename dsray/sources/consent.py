"""Opt-outs that came with a payload: an archived response's headers say the same as when they were sent."""

import json
import re

from dsray import keys
from dsray.sources.rows import Row

_NO = frozenset({"noai", "noimageai", "noindex", "none"})
_AGENT = re.compile(r"^\s*([a-z0-9_.*-]+)\s*:\s*(.*)$", re.DOTALL)
_VALUED = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})


def obeyed(row: Row) -> Row:
    """The row, without its payload if its headers opt out."""
    found = None if row.get("error") or row["headers"] == "{}" else opt_out(json.loads(row["headers"]))
    if not found:
        return row
    evidence = json.dumps({"signal": found[0], "value": found[1], "where": row["url"]}, sort_keys=True)
    kept = {name: value for name, value in row.items() if name not in ("payload", "digest")}
    return {**kept, "id": keys.row_id(row["id"], "opted_out"), "error": "opted_out", "evidence": evidence}


def opt_out(headers: dict[str, str]) -> tuple[str, str] | None:
    """(header, value) of the first opt-out that speaks to every robot; the crawl's rules, for whoever has no name.

    `X-Robots-Tag: noai | noimageai | noindex | none` and `TDM-Reservation: 1` (TDMRep, W3C 2024).
    """
    said, ours = headers.get("x-robots-tag", ""), True
    for part in said.lower().split(","):
        named = _AGENT.match(part)
        if named and named[1] not in _VALUED:
            ours, part = named[1] == "*", named[2]
        if ours and part.strip() in _NO:
            return "x-robots-tag", said[:200]
    return ("tdm-reservation", "1") if headers.get("tdm-reservation", "").strip() == "1" else None
