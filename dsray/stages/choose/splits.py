"""train, validation, test: what belongs together falls into one split, by its own keyed number or by its rank.

A component is what belongs together: the rows of one group (`by`), and groups that share duplicates. By its own number
in [0, 1) nobody moves when data is added, but where new rows join two groups. Stratified, components are ranked by that
number within each class and cut where the shares are: exact up to one component, and about √k of a class move when k
rows are added to it.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dsray import rng, schema
from dsray.engine.exchange import Exchange, Handle, plain
from dsray.stages.choose.components import PAIRS, connect, stars
from dsray.stages.choose.state import U64, alive, merged, row_keys, words

_CLUSTER = np.uint64(1) << np.uint64(63)  # nodes that are clusters; the smallest node of a component is a group
_NODE = pa.schema([*PAIRS, ("to", pa.int64())])
_UNIT = pa.schema([("component", pa.uint64()), ("label", pa.string()), ("rows", pa.int64()), ("to", pa.int64())])
_PLACED = pa.schema([("component", pa.uint64()), ("split", pa.string()), ("to", pa.int64())])
_PARTITION_ROWS = 500_000

Shares = Mapping[str, float]
"""Split → share."""


def fall(number_N: np.ndarray[tuple[int], np.dtype[np.float64]], shares: Shares) -> list[str]:
    """[N] numbers in [0, 1) → the splits that they fall into."""
    edges = np.cumsum([shares[name] for name in schema.SPLITS])[:-1]
    return [schema.SPLITS[index] for index in np.searchsorted(edges, number_N, side="right")]


def numbers(component_N: U64, seed: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """[N] components → their own numbers in [0, 1)."""
    return rng.uniform(seed, "split", component_N)[:, 0]


def assign(
    exchange: Exchange, states: list[Handle], rows: int, shares: Shares, by: str, stratify: bool, seed: int
) -> list[Handle]:
    """The states with the split of every row that stays."""
    partitions = 1 + rows // _PARTITION_ROWS
    if by != "cluster":
        states = _components(exchange, states, partitions)
    else:
        states = exchange.each([(state,) for state in states], _by_cluster)
    if not stratify:
        return exchange.each([(state,) for state in states], partial(_by_number, shares=dict(shares), seed=seed))
    units = [(state, to) for to, state in enumerate(states)]
    joined = exchange.round(units, _units, "component", _main, partitions)
    ranked = partial(_ranked, shares=dict(shares), seed=seed)
    placed = exchange.round([(part,) for part in joined], _same, "label", ranked, partitions)
    return exchange.round(
        [(part,) for part in placed], _same, "to", _by_component, len(states), of=plain, beside=states
    )


def _components(exchange: Exchange, states: list[Handle], partitions: int) -> list[Handle]:
    """Groups that share a cluster of duplicates become one; a component has the number of its smallest group."""
    joined = connect(exchange, exchange.each([(state,) for state in states], _links))
    asked = [(part, -1) for part in joined] + [(state, to) for to, state in enumerate(states)]
    answered = exchange.round(asked, _nodes, "node", _answers, partitions)
    return exchange.round([(part,) for part in answered], _same, "to", _named, len(states), of=plain, beside=states)


def _groups(state: pa.Table) -> U64:
    """[N] a number below 2^63 for each row's group; a row without one is its own."""
    there = state["group"].is_valid().to_numpy()
    group_N = row_keys(state)
    group_N[there] = words(state["group"].drop_null())
    return group_N & ~_CLUSTER


def _links(state: pa.Table) -> pa.Table:
    """Pairs of clusters and the groups of their rows."""
    rows = state.filter(pc.fill_null(state["twinned"], False))
    return stars(row_keys(rows, "cluster") | _CLUSTER, _groups(rows))


def _nodes(table: pa.Table, to: int) -> pa.Table:
    """Known components (to = -1), or a group of shards' question for those of its groups."""
    if to < 0:
        return table.append_column("to", pa.array(np.full(table.num_rows, -1)))
    group_G = np.unique(_groups(table))
    return pa.table([group_G, group_G, np.full(len(group_G), to)], schema=_NODE)


def _answers(met: pa.Table) -> pa.Table:
    known = met.filter(pc.less(met["to"], 0))
    asked = met.filter(pc.greater_equal(met["to"], 0))
    order = np.argsort(known["node"].to_numpy())
    node_K, root_K = known["node"].to_numpy()[order], known["root"].to_numpy()[order]
    root_N = asked["node"].to_numpy().copy()
    if len(node_K):
        at_N = np.minimum(np.searchsorted(node_K, root_N), len(node_K) - 1)
        root_N = np.where(node_K[at_N] == root_N, root_K[at_N], root_N)
    return pa.table([asked["node"], root_N, asked["to"]], schema=_NODE)


def _named(state: pa.Table, answers: pa.Table) -> pa.Table:
    order = np.argsort(answers["node"].to_numpy())
    node_G, root_G = answers["node"].to_numpy()[order], answers["root"].to_numpy()[order]
    root_N = root_G[np.searchsorted(node_G, _groups(state))]
    return merged(state, pa.table([state["place"], root_N], ["place", "component"]))


def _by_cluster(state: pa.Table) -> pa.Table:
    return merged(state, pa.table([state["place"], row_keys(state, "cluster")], ["place", "component"]))


def _by_number(state: pa.Table, shares: Shares, seed: int) -> pa.Table:
    rows = alive(state)
    split = fall(numbers(rows["component"].to_numpy(), seed), shares)
    return merged(state, pa.table([rows["place"], pa.array(split, pa.string())], ["place", "split"]))


def _units(state: pa.Table, to: int) -> pa.Table:
    rows = alive(state).select(["component", "label"])
    counts = rows.group_by(["component", "label"]).aggregate([([], "count_all")])
    return pa.table([counts["component"], pc.fill_null(counts["label"], ""), counts["count_all"],
                     np.full(counts.num_rows, to)], schema=_UNIT)  # fmt: skip


def _main(met: pa.Table) -> pa.Table:
    """Each component with all its rows and the class of most of them, once for each place that asks."""
    counts = met.group_by(["component", "label"]).aggregate([("rows", "sum")])
    order = [("component", "ascending"), ("rows_sum", "descending"), ("label", "ascending")]
    counts = counts.sort_by(order).combine_chunks()
    component_N, rows_N = counts["component"].to_numpy(), counts["rows_sum"].to_numpy()
    start = np.flatnonzero(np.r_[True, component_N[1:] != component_N[:-1]][: len(component_N)])
    total = np.add.reduceat(rows_N, start) if len(start) else rows_N
    asked = met.group_by(["component", "to"]).aggregate([]).combine_chunks()
    at = np.searchsorted(component_N[start], asked["component"].to_numpy())
    label = counts["label"].take(pa.array(start)).take(pa.array(at))
    return pa.table([asked["component"], label, total[at], asked["to"]], schema=_UNIT)


def _ranked(met: pa.Table, shares: Shares, seed: int) -> pa.Table:
    """In each class, components in the order of their numbers, cut where the shares are."""
    if not met.num_rows:
        return _PLACED.empty_table()
    component_M = met["component"].to_numpy()
    component_N, one_N, which_M = np.unique(component_M, return_index=True, return_inverse=True)
    rows_N = met["rows"].to_numpy()[one_N]
    label_N = met["label"].combine_chunks().dictionary_encode().indices.to_numpy()[one_N]
    order = np.lexsort((component_N, rng.bits(seed, "split", component_N)[:, 0], label_N))
    start = np.flatnonzero(np.r_[True, label_N[order][1:] != label_N[order][:-1]])
    size = np.diff(np.r_[start, len(order)])
    end = np.cumsum(rows_N[order])
    before = np.repeat(np.r_[0, end][start], size)
    middle = end - rows_N[order] / 2 - before
    whole = np.repeat(np.add.reduceat(rows_N[order], start), size)
    split_N = np.empty(len(order), object)
    split_N[order] = fall(middle / whole, shares)
    return pa.table([component_M, pa.array(split_N[which_M], pa.string()), met["to"]], schema=_PLACED)


def _by_component(state: pa.Table, placed: pa.Table) -> pa.Table:
    rows = alive(state)
    order = np.argsort(placed["component"].to_numpy())
    at = order[np.searchsorted(placed["component"].to_numpy()[order], rows["component"].to_numpy())]
    split = placed["split"].combine_chunks().take(pa.array(at))
    return merged(state, pa.table([rows["place"], split], ["place", "split"]))


def _same(table: pa.Table) -> pa.Table:
    return table
