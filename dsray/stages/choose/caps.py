"""Most rows of a class, host or source: the smallest keyed numbers stay, so rows that are added displace few.

A group of shards sends no more rows than may stay, and gets back where each full group is cut: one number for it.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dsray import rng
from dsray.engine.exchange import Exchange, Handle
from dsray.selection import Select
from dsray.stages.choose.state import U64, alive, merged, row_keys

_CUT = pa.schema([("of", pa.string()), ("number", pa.uint64()), ("place", pa.uint64())])
_COUNT = pa.schema([("label", pa.string()), ("rows", pa.int64())])
_PARTITION_ROWS = 500_000
_WORDS = {"host": "host", "source": "source", "label": "class"}


def limit(exchange: Exchange, states: list[Handle], rows: int, select: Select, seed: int) -> list[Handle]:
    """The states after `cap`, in the order host, source, label, then after `balance`."""
    for column in _WORDS if select.cap else ():
        most = getattr(select.cap, column)
        if most is not None:
            states = cap(exchange, states, rows, column, most, f"cap_{column}", f"at most {most}", seed)
    if select.balance:
        counts = class_rows(exchange, states)
        if len(counts) > 1:
            most = int(select.balance.ratio * min(counts.values()))
            words = f"ratio {select.balance.ratio:g}"
            states = cap(exchange, states, rows, "label", most, "balance", words, seed)
    return states


def cap(
    exchange: Exchange, states: Sequence[Handle], rows: int, column: str, most: int, rule: str, words: str, seed: int
) -> list[Handle]:
    """At most so many rows of one value of `column`; rows without a value are not counted."""
    load = partial(first, column=column, most=most, seed=seed)
    partitions = 1 + rows // _PARTITION_ROWS
    cuts = exchange.round([(state,) for state in states], load, "of", partial(cut, most=most), partitions)
    end = partial(drop, column=column, rule=rule, words=words, seed=seed)
    return exchange.each([(state, *cuts) for state in states], end)


def class_rows(exchange: Exchange, states: Sequence[Handle], split: str | None = None) -> dict[str, int]:
    """Class → rows that stay, in all or in a split. As many numbers as classes come to the driver."""
    met = exchange.round([(state,) for state in states], partial(_counted, split=split), "label", _added, 1)
    return {row["label"]: row["rows"] for table in exchange.fetch(met) for row in table.to_pylist()}


def first(state: pa.Table, column: str, most: int, seed: int) -> pa.Table:
    """[of, number, place] of the rows that could be among the first, and of one more, which tells that there are."""
    table = _numbered(state, column, seed)
    return table.filter(pa.array(_rank(table) <= most))


def cut(met: pa.Table, most: int) -> pa.Table:
    """The last row that stays of each group that has too many."""
    rank_N = _rank(met)
    full = pc.unique(met["of"].filter(pa.array(rank_N == most)))
    return met.filter(pc.and_(pa.array(rank_N == most - 1), pc.is_in(met["of"], full)))


def drop(state: pa.Table, *cuts: pa.Table, column: str, rule: str, words: str, seed: int) -> pa.Table:
    """The state with the rule on every row beyond its group's cut."""
    cutting = pa.concat_tables(cuts).combine_chunks()
    table = _numbered(state, column, seed)
    at = pc.index_in(table["of"], cutting["of"].combine_chunks())
    table, at_N = table.filter(at.is_valid()), at.drop_null().to_numpy().astype(np.int64)
    number_N, place_N = table["number"].to_numpy(), table["place"].to_numpy()
    last_N, end_N = cutting["number"].to_numpy()[at_N], cutting["place"].to_numpy()[at_N]
    beyond = pa.array((number_N > last_N) | ((number_N == last_N) & (place_N > end_N)))
    gone = table.filter(beyond)
    value = pc.binary_join_element_wise(_WORDS[column], gone["of"], " ")

    told = [pa.array([text] * gone.num_rows, pa.string()) for text in (rule, words)]
    return merged(state, pa.table([gone["place"], told[0], value, told[1]], ["place", "rule", "value", "threshold"]))


def _numbered(state: pa.Table, column: str, seed: int) -> pa.Table:
    rows = alive(state)
    rows = rows.filter(rows[column].is_valid())
    number_N = rng.bits(seed, "cap", row_keys(rows))[:, 0]
    return pa.table([rows[column], number_N, rows["place"]], schema=_CUT)


def _rank(table: pa.Table) -> U64:
    """[N] how many rows of the same group have a smaller number."""
    if not table.num_rows:
        return np.zeros(0, np.uint64)
    of_N = table["of"].combine_chunks().dictionary_encode().indices.to_numpy()
    order = np.lexsort((table["place"].to_numpy(), table["number"].to_numpy(), of_N))
    of_S = of_N[order]
    start = np.flatnonzero(np.r_[True, of_S[1:] != of_S[:-1]])
    rank_N = np.empty(len(order), np.uint64)
    rank_N[order] = np.arange(len(order)) - np.repeat(start, np.diff(np.r_[start, len(order)]))
    return rank_N


def _counted(state: pa.Table, split: str | None) -> pa.Table:
    rows = alive(state)
    if split is not None:
        rows = rows.filter(pc.equal(rows["split"], split))
    counts = rows.filter(rows["label"].is_valid()).group_by("label").aggregate([([], "count_all")])
    return pa.table([counts["label"], counts["count_all"]], schema=_COUNT)


def _added(met: pa.Table) -> pa.Table:
    sums = met.group_by("label").aggregate([("rows", "sum")])
    return pa.table([sums["label"], sums["rows_sum"]], schema=_COUNT)
