import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from dsray import duplicates
from dsray.duplicates import I64, U64, bands, clusters, pairs

RADII = st.integers(0, 16)


@st.composite
def signatures(draw: st.DrawFn) -> U64:
    """Some centres, and signatures a few bits away from them: pairs at every small distance, and equal ones."""
    centres = draw(arrays(np.uint64, st.integers(1, 6), elements=st.integers(0, 2**64 - 1)))
    which = draw(arrays(np.int64, st.integers(0, 60), elements=st.integers(0, len(centres) - 1)))
    found = centres[which]
    for _ in range(draw(st.integers(0, 10))):
        bit = draw(arrays(np.uint64, len(found), elements=st.integers(0, 63)))
        found = found ^ (np.uint64(1) << bit)
    return found


def brute_force(signature_N: U64, radius: int) -> set[tuple[int, int]]:
    near = np.bitwise_count(signature_N[:, None] ^ signature_N[None, :]) <= radius
    return set(zip(*(axis.tolist() for axis in np.nonzero(np.triu(near, 1))), strict=True))


def components(count: int, found: set[tuple[int, int]]) -> I64:
    """Labels by scipy: the smallest member of each component."""
    i, j = np.array(sorted(found), np.int64).reshape(-1, 2).T
    _, number = connected_components(coo_matrix((np.ones(len(i)), (i, j)), shape=(count, count)), directed=False)
    _, first, which = np.unique(number, return_index=True, return_inverse=True)
    return np.asarray(first[which], np.int64)


@given(signatures(), RADII)
def test_distinct_signatures_give_every_pair_within_the_radius_once(signature_N: U64, radius: int) -> None:
    distinct = np.unique(signature_N)
    i, j = pairs(distinct, radius)
    found = list(zip(i.tolist(), j.tolist(), strict=True))
    assert len(found) == len(set(found))
    assert set(found) == brute_force(distinct, radius)


@given(signatures(), RADII)
def test_pairs_are_near_and_their_clusters_are_those_of_all_pairs(signature_N: U64, radius: int) -> None:
    i, j = pairs(signature_N, radius)
    expected = brute_force(signature_N, radius)
    assert set(zip(i.tolist(), j.tolist(), strict=True)) <= expected
    if len(signature_N):
        np.testing.assert_array_equal(clusters(len(signature_N), i, j), components(len(signature_N), expected))


@given(signatures(), RADII)
def test_every_pair_within_the_radius_shares_a_band(signature_N: U64, radius: int) -> None:
    key_NB = bands(signature_N, radius)
    assert key_NB.shape == (len(signature_N), radius + 1) and key_NB.dtype == np.uint64
    for i, j in brute_force(signature_N, radius):
        assert (key_NB[i] == key_NB[j]).any()


@given(signatures(), st.integers(1, 16))
def test_keys_of_different_bands_never_meet(signature_N: U64, radius: int) -> None:
    columns = [set(column.tolist()) for column in bands(signature_N, radius).T]
    assert len(set().union(*columns)) == sum(len(column) for column in columns)


@given(signatures(), RADII, st.integers(1, 5))
def test_partitions_by_band_key_together_find_every_cluster(signature_N: U64, radius: int, partitions: int) -> None:
    """What select does on a cluster: each row goes to the partitions of its keys; pairs are looked for in each."""
    key_NB = bands(signature_N, radius)
    edges: set[tuple[int, int]] = set()
    for partition in range(partitions):
        rows = np.flatnonzero((key_NB % np.uint64(partitions) == partition).any(axis=1))
        i, j = pairs(signature_N[rows], radius)
        edges |= set(zip(rows[i].tolist(), rows[j].tolist(), strict=True))
    i, j = np.array(sorted(edges), np.int64).reshape(-1, 2).T
    expected = brute_force(signature_N, radius)
    if len(signature_N):
        np.testing.assert_array_equal(clusters(len(signature_N), i, j), components(len(signature_N), expected))


@pytest.mark.parametrize("radius", [1, 3, 5])
def test_big_groups_are_searched_in_tiles(radius: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All bits but 14 are equal, so keys tell little apart and groups are large; tiles and offsets must agree."""
    spread = np.random.default_rng(3).choice(2**14, 700, replace=False).astype(np.uint64)
    signature_N = (spread << np.uint64(20)) | np.uint64(0xABCDE)
    expected = brute_force(signature_N, radius)
    for big, tile in ((2, 400), (32, 1 << 12), (10**6, 1)):
        monkeypatch.setattr(duplicates, "_BIG", big)
        monkeypatch.setattr(duplicates, "_TILE", tile)
        i, j = pairs(signature_N, radius)
        assert set(zip(i.tolist(), j.tolist(), strict=True)) == expected


def test_equal_signatures_give_a_star_not_all_pairs() -> None:
    i, j = pairs(np.full(100_000, 7, np.uint64), 4)
    assert len(i) == 99_999
    assert (clusters(100_000, i, j) == 0).all()


def test_a_long_chain_is_one_cluster() -> None:
    order = np.random.default_rng(0).permutation(50_000)
    assert (clusters(50_000, order[:-1], order[1:]) == 0).all()


def test_nothing_has_no_pairs() -> None:
    i, j = pairs(np.zeros(0, np.uint64), 4)
    assert len(i) == len(j) == 0
    np.testing.assert_array_equal(clusters(3, i, j), [0, 1, 2])
