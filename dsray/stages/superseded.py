"""Rows that a later crawl replaced: of the rows of one URL only the newest counts, be it a payload or an error."""

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dsray.lake import shards
from dsray.lake.shards import Receipt
from dsray.lake.store import Store

COLUMNS = ["id", "source", "url", "fetched_at"]

Superseded = Mapping[tuple[str, int], str]
"""(row id, fetched_at in microseconds since 1970) → id of the row that replaced it. The same content may come back
after an error, under the same id: so the time is needed."""

NONE: Superseded = MappingProxyType({})

_PARTITION_ROWS = 500_000


def find(raw: Sequence[Receipt], store: Store, sources: Sequence[str]) -> Superseded:
    """Looks through the rows of the sources that were crawled more than once, on the engine's exchange."""
    from dsray.engine.exchange import exchange

    if not sources:
        return {}
    rows = sum(receipt.rows for receipt in raw)
    load = partial(_load, store=store, sources=list(sources))
    found = exchange(list(raw), load, "place", replaced, partitions=1 + rows // _PARTITION_ROWS)
    columns = (found[name].to_pylist() for name in ("id", "at", "by"))
    return {(row, at): by for row, at, by in zip(*columns, strict=True)}


def replaced(rows: pa.Table) -> pa.Table:
    """[id, at, by] of every row that is not the newest of its place."""
    ordered = rows.sort_by([("place", "ascending"), ("at", "ascending"), ("id", "ascending")]).combine_chunks()
    place = ordered["place"].combine_chunks().dictionary_encode().indices.to_numpy()
    if not len(place):
        return pa.schema([("id", pa.string()), ("at", pa.int64()), ("by", pa.string())]).empty_table()
    last_N = np.append(place[1:] != place[:-1], True)
    newest_N = np.flatnonzero(last_N)[np.searchsorted(np.flatnonzero(last_N), np.arange(len(place)))]
    by = ordered["id"].take(pa.array(newest_N))
    return pa.table({"id": ordered["id"], "at": ordered["at"], "by": by}).filter(pa.array(~last_N))


def flags(raw: pa.Table, superseded: Superseded) -> list[str | None]:
    """For each row of a raw table the id of the row that replaced it, or None."""
    if not superseded:
        return [None] * raw.num_rows
    moments = raw["fetched_at"].cast(pa.int64()).to_pylist()
    return [superseded.get(key) for key in zip(raw["id"].to_pylist(), moments, strict=True)]


def _load(receipt: Receipt, store: Store, sources: list[str]) -> pa.Table:
    raw = shards.read(store, receipt, COLUMNS)
    raw = raw.filter(pc.is_in(raw["source"], pa.array(sources, pa.string())))
    place = pc.binary_join_element_wise(raw["source"], raw["url"], "\n")
    return pa.table({"id": raw["id"], "at": raw["fetched_at"].cast(pa.int64()), "place": place})
