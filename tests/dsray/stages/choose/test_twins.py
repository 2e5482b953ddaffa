"""twins: duplicates meet under their keys, and of each cluster the best row stays, whatever the shards and rounds."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deciding import by_rule, verdicts
from dsray import duplicates
from dsray.engine.exchange import Cluster, Here
from dsray.lake.store import open_store
from dsray.selection import Duplicates
from dsray.stages.choose import components, decision, twins
from dsray.stages.choose.state import RESULTS, packed, places, row_keys
from lakes import rows

WORDS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3), st.integers(1, 3)), min_size=1, max_size=40)
KEEP = {"drop": {"unlabelled": False}}


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    return open_store(f"file://{tmp_path_factory.mktemp('lake')}")


def made_of(words):
    """(signature, payload, side) → rows; ids follow the position, so ties go to the earlier row."""
    return rows(
        len(words), id=[f"{n:032x}" for n in range(len(words))], signature=[word for word, _, _ in words],
        digest=[f"{payload:016x}" * 4 for _, payload, _ in words], side=[float(side) for *_, side in words],
    )  # fmt: skip


def brute(words, exact, near):
    """Clusters by comparing everybody with everybody."""
    label = list(range(len(words)))
    for i in range(len(words)):
        for j in range(i):
            if near(words[i][0], words[j][0]) or (exact and words[i][1] == words[j][1]):
                label = [label[j] if x == label[i] else x for x in label]
    return [min(n for n, x in enumerate(label) if x == label[m]) for m in range(len(words))]


def within(radius):
    return lambda a, b: radius is not None and (a ^ b).bit_count() <= radius


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(WORDS, st.booleans(), st.sampled_from([None, 0, 1, 3]), st.lists(st.integers(1, 15), min_size=1, max_size=5),
       st.booleans())  # fmt: skip
def test_clusters_are_those_of_all_pairs_whatever_the_shards(lake, words, exact, radius, sizes, rounds):
    choices = KEEP | {"duplicates": {"exact": exact, "radius": radius}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(components.connect, "__defaults__", (4 if rounds else components.ONE_TASK,))
        patch.setattr("dsray.stages.choose.twins._PARTITION_WORDS", 10)
        table = verdicts(lake, made_of(words), choices, sizes)
    wanted = brute(words, exact, within(radius))
    assert table["cluster"].to_pylist() == [f"{first:032x}" for first in wanted]
    for cluster in set(wanted):
        members = [n for n, first in enumerate(wanted) if first == cluster]
        best = max(members, key=lambda n: (words[n][2], -n))
        assert [n for n in members if table["kept"][n].as_py()] == [best]


def test_equal_bytes_are_exact_and_the_others_near(lake):
    words = [(0b1, 1, 1), (0b1, 1, 1), (0b11, 2, 1)]
    table = verdicts(lake, made_of(words), KEEP | {"duplicates": {"exact": True, "radius": 1}})
    assert table["rule"].to_pylist() == [None, "exact_duplicate", "near_duplicate"]
    assert table["value"].to_pylist() == [None, f"{0:032x}", f"{0:032x}"]
    assert table["threshold"].to_pylist() == [None, "same bytes", "radius 1"]


def test_the_same_row_twice_stays_once(lake):
    twice = [*rows(3), *rows(1)]
    assert len(by_rule(verdicts(lake, twice, KEEP, (2, 9)))[""]) == 3


def test_another_signal_says_who_stays(lake):
    words = [(1, 1, 1), (1, 1, 9)]
    sharp = [dict(row, blur=blur) for row, blur in zip(made_of(words), (5.0, 1.0), strict=True)]
    assert by_rule(verdicts(lake, sharp, KEEP | {"duplicates": {}}))[""] == [1]
    assert by_rule(verdicts(lake, sharp, KEEP | {"duplicates": {"keep": "blur"}}))[""] == [0]


def states_of(word_N, groups):
    """Signatures dealt in turn to shards, a group each; a row's id says where its word was."""
    made = []
    for shard in range(groups):
        at_N = np.arange(len(word_N))[shard::groups]
        ids = pa.chunked_array([packed(pa.array([f"{n:016x}" * 2 for n in at_N]))])
        empty = {name: pa.nulls(len(at_N), type_) for name, type_ in RESULTS}
        columns = {"place": places(shard, len(at_N)), "id": ids, "signature": word_N[at_N]}
        columns["quality"] = np.ones(len(at_N))
        made.append(pa.table(columns | empty | {"cluster": ids}))
    return made


def turns(signature_N):
    """Eight bit permutations that form a group: the words of an 8 × 8 grid of bits, turned and mirrored."""
    bits_N88 = np.unpackbits(np.asarray(signature_N, ">u8").view(np.uint8).reshape(-1, 8), axis=1).reshape(-1, 8, 8)
    every = [np.rot90(side, k, axes=(1, 2)) for side in (bits_N88, bits_N88[:, :, ::-1]) for k in range(4)]
    return np.stack([np.packbits(one.reshape(len(one), 64), axis=1).view(">u8")[:, 0] for one in every], 1).astype(
        np.uint64
    )


@pytest.mark.parametrize("radius", [0, 2, 5])
def test_eight_orientations_are_those_of_brute_force(lake, monkeypatch, radius):
    random = np.random.default_rng(radius)
    plain = random.integers(0, 2**64, 60, dtype=np.uint64)
    turned = turns(plain)[np.arange(60), random.integers(0, 8, 60)]
    for _ in range(radius):
        turned ^= np.uint64(1) << random.integers(0, 64, 60).astype(np.uint64)
    signatures = np.concatenate([plain, turned]).astype(np.uint64)
    words = [(int(word), n, 1) for n, word in enumerate(signatures)]
    every = turns(signatures)
    one_N8 = np.bitwise_count(signatures[:, None, None] ^ every[None]).min(axis=2)
    near = {(words[i][0], words[j][0]) for i, j in zip(*np.nonzero(one_N8 <= radius), strict=True)}
    monkeypatch.setattr(decision, "turned", lambda recipe: turns)
    choices = KEEP | {"duplicates": {"radius": radius, "orientations": True}}
    table = verdicts(lake, made_of(words), choices, (13, 50, 999))
    wanted = brute(words, True, lambda a, b: (a, b) in near)
    assert table["cluster"].to_pylist() == [f"{first:032x}" for first in wanted]
    assert len(set(wanted)) == 60


def test_20000_signatures_equal_brute_force(lake):
    random = np.random.default_rng(0)
    word_N = random.integers(0, 2**64, 20_000, dtype=np.uint64)
    word_N[15_000:] = word_N[:5_000]
    for _ in range(5):  # some within the radius, some just beyond it
        word_N[15_000:] ^= np.uint64(1) << random.integers(0, 64, 5_000).astype(np.uint64)
    pairs = [np.zeros((0, 2), np.int64)]
    for low in range(0, 20_000, 1000):
        near = np.argwhere(np.bitwise_count(word_N[low : low + 1000, None] ^ word_N[None]) <= 4)
        pairs.append(near + np.array([low, 0]))
    i, j = np.concatenate(pairs).T
    wanted = duplicates.clusters(20_000, i, j)
    found = pa.concat_tables(twins.find(Here(), states_of(word_N, 4), 20_000, Duplicates(exact=False, radius=4), None))
    order = np.argsort(found["place"].to_numpy())
    shard_order = np.concatenate([np.arange(20_000)[shard::4] for shard in range(4)])
    assert row_keys(found, "cluster")[order].tolist() == wanted[shard_order].tolist()


def test_ray_and_this_process_come_to_the_same(store, ray_session):
    random = np.random.default_rng(1)
    word_N, side_N = random.integers(0, 2000, 300).tolist(), random.integers(1, 9, 300).tolist()
    made = made_of(list(zip(word_N, word_N, side_N, strict=True)))
    choices = KEEP | {"duplicates": {"radius": 1}, "cap": {"label": 20}, "split": {"by": "page", "stratify": True}}
    one, other = (verdicts(store, made, choices, (90, 1, 100, 999), exchange=way) for way in (Here(), Cluster()))
    assert one.equals(other) and set(by_rule(one)) == {"", "exact_duplicate", "near_duplicate", "cap_label"}
