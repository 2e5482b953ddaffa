"""Rows that a later crawl replaced: of the rows of one URL only the newest counts, be it a payload or an error."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dsray.engine.exchange import Exchange, Handle
from dsray.lake import shards
from dsray.lake.store import Store
from dsray.stages.choose.state import OLD, Group, group_of, packed, places

_PARTITION_ROWS = 500_000
_MET = pa.schema([("id", pa.string()), ("at", pa.int64()), ("where", pa.string()), ("place", pa.uint64())])


def find(exchange: Exchange, groups: Sequence[Group], store: Store, sources: Sequence[str]) -> list[Handle | None]:
    """Of each group the rows that were superseded, among those of the sources that were crawled more than once."""
    if not sources or not groups:
        return [None] * len(groups)
    rows = sum(family[0].rows for group in groups for _, family in group)
    load = partial(_load, store=store, sources=list(sources))
    met = exchange.round([(group,) for group in groups], load, "where", replaced, 1 + rows // _PARTITION_ROWS)
    home = group_of(len(groups))
    return list(exchange.round([(part,) for part in met], _same, "place", _same, len(groups), of=home))


def replaced(rows: pa.Table) -> pa.Table:
    """[place, by] of every row that is not the newest of its URL."""
    ordered = rows.sort_by([(name, "ascending") for name in ("where", "at", "id", "place")]).combine_chunks()
    where = ordered["where"].combine_chunks().dictionary_encode().indices.to_numpy()
    if not len(where):
        return OLD.empty_table()
    last_N = np.append(where[1:] != where[:-1], True)
    newest_N = np.flatnonzero(last_N)[np.searchsorted(np.flatnonzero(last_N), np.arange(len(where)))]
    by = packed(ordered["id"].take(pa.array(newest_N)))
    return pa.table([ordered["place"], by], schema=OLD).filter(pa.array(~last_N))


def _load(group: Group, store: Store, sources: list[str]) -> pa.Table:
    parts = []
    for number, (receipt, _, _) in group:
        raw = shards.read(store, receipt, ["id", "source", "url", "fetched_at"])
        where = pc.binary_join_element_wise(raw["source"], raw["url"], "\n")
        at = raw["fetched_at"].cast(pa.int64())
        table = pa.table([raw["id"], at, where, places(number, raw.num_rows)], schema=_MET)
        concerned = pc.and_(pc.is_in(raw["source"], pa.array(sources, pa.string())), where.is_valid())
        parts.append(table.filter(concerned))
    return pa.concat_tables(parts)


def _same(table: pa.Table) -> pa.Table:
    return table
