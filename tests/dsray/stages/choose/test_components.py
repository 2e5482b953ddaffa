"""components: stars by rounds are the components that SciPy finds, and there are fewer pairs than nodes."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from dsray.engine.exchange import Here
from dsray.stages.choose.components import PAIRS, connect, stars

EDGES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=40)


def pairs_of(edges):
    a, b = np.array(edges, np.uint64).reshape(-1, 2).T
    return pa.table([a, b], schema=PAIRS)


def found(parts):
    """Node → the smallest of its component, of nodes that are not it."""
    return {row["node"]: row["root"] for part in parts for row in part.to_pylist()}


def wanted(edges, nodes):
    a, b = np.array(edges, np.int64).reshape(-1, 2).T
    _, label = connected_components(coo_matrix((np.ones(len(a)), (a, b)), (nodes, nodes)), directed=False)
    least = {part: int(np.flatnonzero(label == part)[0]) for part in set(label.tolist())}
    return {n: least[part] for n, part in enumerate(label.tolist()) if least[part] != n}


@settings(max_examples=60)
@given(EDGES, st.integers(1, 4), st.sampled_from([0, 5, 10**6]))
def test_components_are_those_of_scipy_in_one_task_and_in_rounds(edges, parts, one_task):
    tables = [stars(*(pairs_of(edges[n::parts])[name].to_numpy() for name in ("node", "root"))) for n in range(parts)]
    assert all(table.num_rows < max(1, len({*np.ravel(edges)})) for table in tables)
    assert found(connect(Here(), tables, one_task)) == wanted(edges, 31)


def test_a_long_chain_ends():
    nodes = 3000
    order = np.random.default_rng(0).permutation(nodes)
    edges = list(zip(order[:-1].tolist(), order[1:].tolist(), strict=True))
    assert found(connect(Here(), [pairs_of(edges[n::7]) for n in range(7)], 1000)) == wanted(edges, nodes)
