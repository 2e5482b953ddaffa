"""Facts and labels on a lake without payloads: what select's rounds read, as many rows as a test likes."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from dsray import keys, schema
from dsray.lake import shards
from dsray.lake.store import Store
from dsray.stages.choose.state import Family

_OWN = {"side": pa.float64(), "blur": pa.float64(), "animated": pa.bool_(), "truncated": pa.bool_()}
FACTS = pa.schema([*schema.FACTS, *_OWN.items(), ("features", pa.list_(pa.uint8()))])

RAW = schema.RAW.remove(schema.RAW.get_field_index("payload"))


def rows(count: int, seed: int = 0, **columns: Sequence[Any]) -> list[dict[str, Any]]:
    """Rows that differ in all; `columns` overrides what they say."""
    random = np.random.default_rng(seed)
    made = []
    for n in range(count):
        row = {
            "id": keys.digest(f"{seed}/{n}".encode())[:32], "digest": keys.digest(f"bytes {seed}/{n}".encode()),
            "error": None, "signature": int(random.integers(0, 2**63)), "side": float(random.integers(16, 400)),
            "blur": float(np.round(random.lognormal(4, 1), 6)), "animated": False,
            "truncated": False, "features": None,
            "label": str(n % 3), "agreement": 1.0, "source": "web", "url": f"http://host{n % 7}.org/{n}",
            "page": f"http://host{n % 7}.org/p{n % 50}", "refused": None,
            "fetched_at": datetime(2026, 11, 1, tzinfo=UTC),
        }  # fmt: skip
        made.append(row | {name: values[n] for name, values in columns.items()})
    return made


def families(store: Store, made: Sequence[dict[str, Any]], sizes: Sequence[int]) -> list[Family]:
    """The rows as shards of those sizes; the last takes the rest."""
    found, start = [], 0
    for size in [*sizes[:-1], len(made)]:
        part = list(made[start : start + size])
        start += len(part)
        raw = [{**row, "error": row["refused"], "evidence": None} for row in part]
        labels = [{**row, "objects": None} for row in part]
        found.append((
            shards.write_named(store, "raw", pa.Table.from_pylist(raw, schema=RAW)),
            shards.write_named(store, "facts", pa.Table.from_pylist(part, schema=FACTS)),
            shards.write_named(store, "labels", pa.Table.from_pylist(labels, schema=schema.LABELS)),
        ))  # fmt: skip
    return found
