"""dsray.rng: random numbers that depend on names only."""

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dsray import rng

ROWS = np.arange(50_000, dtype=np.uint64)


@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 2**63 - 1))
def test_a_batch_equals_its_halves(rows, cut, seed):
    whole = rng.uniform(seed, "augment", ROWS[:rows], 1, 5)
    halves = np.concatenate(
        [rng.uniform(seed, "augment", part, 1, 5) for part in np.split(ROWS[:rows], [min(cut, rows)])]
    )
    assert np.array_equal(whole, halves)


@given(st.permutations(range(20)))
def test_order_does_not_matter(order):
    shuffled = np.array(order, np.uint64)
    assert np.array_equal(rng.normal(3, "x", shuffled, 0, 3), rng.normal(3, "x", ROWS[:20], 0, 3)[order])


def test_more_draws_keep_the_first():
    assert np.array_equal(rng.uniform(1, "s", ROWS[:9], 0, 4), rng.uniform(1, "s", ROWS[:9], 0, 9)[:, :4])


def test_each_name_gives_other_numbers():
    draws = [
        rng.uniform(1, "a", ROWS[:1000]),
        rng.uniform(2, "a", ROWS[:1000]),
        rng.uniform(1, "b", ROWS[:1000]),
        rng.uniform(1, "a", ROWS[:1000], copy=1),
        rng.uniform(1, "a", ROWS[1000:2000]),
    ]
    for first in range(len(draws)):
        for second in range(first):
            assert abs(np.corrcoef(draws[first][:, 0], draws[second][:, 0])[0, 1]) < 0.15


def test_uniform_is_uniform_and_normal_is_normal():
    u, n = rng.uniform(7, "s", ROWS, 0, 2), rng.normal(7, "s", ROWS, 0, 2)
    assert u.min() >= 0 and u.max() < 1
    assert stats.kstest(u.ravel(), "uniform").pvalue > 1e-3
    assert stats.kstest(n.ravel(), "norm").pvalue > 1e-3
    assert abs(np.corrcoef(u.T)[0, 1]) < 0.02 and abs(np.corrcoef(n.T)[0, 1]) < 0.02


def test_bits_never_collide_over_many_rows():
    assert len(np.unique(rng.bits(0, "s", ROWS, 0, 4))) == 4 * len(ROWS)


def test_a_permutation_holds_everything_and_changes_with_the_epoch():
    first, second = rng.permutation(5, "order", 1000, 0), rng.permutation(5, "order", 1000, 1)
    assert np.array_equal(np.sort(first), np.arange(1000))
    assert not np.array_equal(first, second)


def split_mix(x):
    """SplitMix64's finaliser in Python's integers, from the paper."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % 2**64
    return x ^ (x >> 31)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**63 - 1), st.integers(0, 9))
def test_the_numbers_are_those_of_the_paper_on_every_machine(row, seed, copy):
    golden = 0x9E3779B97F4A7C15
    named = int.from_bytes(hashlib.sha256(f"{seed}/augment/{copy}".encode()).digest()[:8], "little")
    key = split_mix(split_mix((row + golden) % 2**64) ^ named)
    expected = [split_mix((key + golden * draw) % 2**64) for draw in (1, 2, 3)]
    assert rng.bits(seed, "augment", np.array([row], np.uint64), copy, 3).tolist() == [expected]


def test_ids_become_row_keys():
    assert rng.keys_of(["00000000000000ff" + "0" * 16]).tolist() == [255]
