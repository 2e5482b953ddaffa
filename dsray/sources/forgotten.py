"""Rows that were forgotten are not read again; another row with the same payload says so, and has none."""

import json
from collections.abc import Iterable, Iterator

from dsray import keys
from dsray.lake.tombstones import Tombstones
from dsray.sources.rows import Row


def left(rows: Iterable[Row], forgotten: Tombstones) -> Iterator[Row]:
    """What may be kept of a source's rows."""
    for row in rows:
        if forgotten.holds(row["id"], row["url"]):
            continue
        yield _without_payload(row) if row.get("digest") in forgotten.digests else row


def _without_payload(row: Row) -> Row:
    evidence = json.dumps({"signal": "payload", "value": "was forgotten", "where": row["url"]}, sort_keys=True)
    kept = {name: value for name, value in row.items() if name not in ("payload", "digest")}
    return {**kept, "id": keys.row_id(row["id"], "forgotten"), "error": "forgotten", "evidence": evidence}
