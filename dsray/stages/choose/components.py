"""Connected components of pairs that lie in many tables, found where they lie.

Few pairs meet in one task. Many take rounds of large-star and small-star (Kiveris et al., "Connected components in
MapReduce and beyond", SoCC 2014): each node tells its larger, then its smaller neighbours the smallest of all, until
every component is a star around its smallest node.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dsray import duplicates
from dsray.engine.exchange import Exchange, Handle

U64 = NDArray[np.uint64]

PAIRS = pa.schema([("node", pa.uint64()), ("root", pa.uint64())])
"""Pairs of nodes; in a star, or any forest, `root` is the smaller."""

ONE_TASK = 5_000_000  # pairs: 100 bytes each while they are joined
_MIX = np.uint64(0xBF58476D1CE4E5B9)


def connect(exchange: Exchange, parts: Sequence[Handle], one_task: int = ONE_TASK) -> list[Handle]:
    """Tables of PAIRS → tables of PAIRS: every node that is not the smallest of its component, with that one."""
    inputs = [(part,) for part in parts]
    pairs = sum(table["pairs"][0].as_py() for table in exchange.fetch(exchange.each(inputs, _tell)))
    if pairs <= one_task:
        return exchange.round(inputs, _whole, "root", forest, 1)
    count = 2 + 2 * pairs // max(1, one_task)
    before = None
    while True:
        larger = exchange.round(inputs, _both, "node", large_star, count)
        parts = exchange.round([(part,) for part in larger], _whole, "node", small_star, count)
        inputs = [(part,) for part in parts]
        told = [table.to_pylist()[0] for table in exchange.fetch(exchange.each(inputs, _tell))]
        now = (sum(one["pairs"] for one in told), sum(one["check"] for one in told) % 2**64)
        if now == before:
            return list(parts)
        before = now


def forest(pairs: pa.Table) -> pa.Table:
    """The components of one table of pairs, as stars: at most as many pairs as nodes."""
    a, b = pairs["node"].to_numpy(), pairs["root"].to_numpy()
    return stars(a, b)


def stars(a: U64, b: U64) -> pa.Table:
    """Pairs → PAIRS of each node but the smallest of its component with that one."""
    node_U, place = np.unique(np.concatenate([a, b]), return_inverse=True)
    first_U = duplicates.clusters(len(node_U), place[: len(a)], place[len(a) :])
    others = first_U != np.arange(len(node_U))
    return _pairs(node_U[others], node_U[first_U[others]])


def large_star(met: pa.Table) -> pa.Table:
    """Of each `node` with its neighbours: the larger ones, with the smallest of all."""
    node, near = met["node"].to_numpy(), met["root"].to_numpy()
    least = np.minimum(node, _least(node, near))
    larger = near > node
    return _distinct(near[larger], least[larger])


def small_star(met: pa.Table) -> pa.Table:
    """Of each `node` with its smaller neighbours: itself and them, with the smallest."""
    node, near = met["node"].to_numpy(), met["root"].to_numpy()
    least = _least(node, near)
    a, b = np.concatenate([near, node]), np.concatenate([least, least])
    return _distinct(a[a != b], b[a != b])


def _least(node: U64, near: U64) -> U64:
    """For each pair the smallest neighbour of its node."""
    order = np.lexsort((near, node))
    start = np.r_[True, node[order][1:] != node[order][:-1]][: len(order)]
    least = np.empty_like(near)
    least[order] = near[order][np.flatnonzero(start)[np.cumsum(start) - 1]]
    return least


def _distinct(a: U64, b: U64) -> pa.Table:
    order = np.lexsort((b, a))
    a, b = a[order], b[order]
    new = np.r_[True, (a[1:] != a[:-1]) | (b[1:] != b[:-1])][: len(order)]
    return _pairs(a[new], b[new])


def _pairs(node: U64, root: U64) -> pa.Table:
    return pa.table([node, root], schema=PAIRS)


def _both(pairs: pa.Table) -> pa.Table:
    return pa.concat_tables([pairs, pairs.rename_columns(["root", "node"]).select(["node", "root"])])


def _whole(pairs: pa.Table) -> pa.Table:
    return pairs


def _tell(pairs: pa.Table) -> pa.Table:
    """How many pairs, and a sum over them that tells one set of pairs from another."""
    node, root = pairs["node"].to_numpy(), pairs["root"].to_numpy()
    with np.errstate(over="ignore"):
        mixed = (node ^ (node >> np.uint64(31))) * _MIX + root
        check = int(((mixed ^ (mixed >> np.uint64(29))) * _MIX).sum(dtype=np.uint64)) if len(node) else 0
    return pa.table({"pairs": [len(node)], "check": pa.array([check], pa.uint64())})
