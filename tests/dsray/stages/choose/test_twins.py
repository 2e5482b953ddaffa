"""twins: duplicates meet under their keys, and of each cluster the best row stays."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsray.stages import twins

WORDS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3), st.integers(1, 3)), min_size=1, max_size=40)


def facts_of(rows):
    """(signature, payload, side) → facts; the id follows the position, so ties go to the earlier row."""
    return pa.table(
        {
            "id": [f"{index:032x}" for index in range(len(rows))],
            "digest": [f"{payload:016x}" * 4 for _, payload, _ in rows],
            "signature": pa.array([signature for signature, _, _ in rows], pa.uint64()),
            "side": pa.array([float(side) for *_, side in rows]),
        }
    )


def reference(rows, exact, radius):
    """Clusters by comparing everybody with everybody."""
    label = list(range(len(rows)))
    for i, (sign_i, pay_i, _) in enumerate(rows):
        for j, (sign_j, pay_j, _) in enumerate(rows[:i]):
            near = radius is not None and bin(sign_i ^ sign_j).count("1") <= radius
            if near or (exact and pay_i == pay_j):
                old, new = label[i], label[j]
                label = [new if x == old else x for x in label]
    return label


@settings(max_examples=60, deadline=None)
@given(WORDS, st.booleans(), st.sampled_from([None, 0, 1, 3]), st.integers(1, 5))
def test_clusters_are_those_of_all_pairs_whatever_the_partitions(rows, exact, radius, partitions):
    met = twins.keyed(facts_of(rows), exact, radius, "side") if exact or radius is not None else None
    if met is None:
        return
    part_N = met[twins.KEY].to_numpy() % np.uint64(partitions)
    tables = [twins.edges(met.filter(pa.array(part_N == part)), radius) for part in range(partitions)]
    found = twins.resolve(pa.concat_tables(tables))
    expected = reference(rows, exact, radius)
    ids = facts_of(rows)["id"].to_pylist()
    for cluster in set(expected):
        members = [index for index, label in enumerate(expected) if label == cluster]
        if len(members) == 1:
            assert ids[members[0]] not in found
            continue
        assert {found[ids[m]].cluster for m in members} == {ids[members[0]]}
        best = max(members, key=lambda m: (rows[m][2], -m))
        assert [m for m in members if found[ids[m]].rule is None] == [best]


def test_equal_bytes_are_exact_and_the_others_near():
    rows = [(0b1, 1, 1), (0b1, 1, 1), (0b11, 2, 1)]
    met = twins.keyed(facts_of(rows), True, 1, "side")
    found = twins.resolve(twins.edges(met, 1))
    ids = facts_of(rows)["id"].to_pylist()
    assert [found[i].rule for i in ids] == [None, "exact_duplicate", "near_duplicate"]
    assert [found[i].of for i in ids] == [None, ids[0], ids[0]]


@pytest.mark.parametrize("radius", [None, 2])
def test_nothing_met_is_no_edges(radius):
    met = twins.keyed(facts_of([(1, 1, 1)]), True, radius, "side").slice(0, 0)
    assert twins.resolve(twins.edges(met, radius)) == {}
