"""buckets: a release's shards, from all rows or from those of before: the same bytes."""

from functools import partial
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsray import schema
from dsray.engine.exchange import plain, split
from dsray.lake import shards
from dsray.lake.shards import Receipt
from dsray.lake.store import Store, open_store
from dsray.stages import buckets
from dsray.stages.buckets import Before
from dsray.stages.release import release_table
from dsray.stages.samples import RARE
from inline import inline
from rows import drawing, png, sample_rows

PARAMS = {
    "classes": ["a", "b"],
    "kind": "image",
    "texts": [],
    "columns": [],
    "form": {"values": "bytes"},
    "shape": None,
}
EVERYTHING = PARAMS | {"columns": list(RARE), "form": {"values": "signed"}, "shape": [1, 28, 28]}
BOX = {"label": "boat", "x": 1.5, "y": 2.0, "width": 4.0, "height": 3.0, "polygon": [1.5, 2.0, 5.5, 2.0]}
PICTURES = sample_rows(
    [png(drawing(seed)) for seed in range(40)],
    [None] * 40,
    objects=pa.array([[BOX, {**BOX, "polygon": None}], None] * 20, pa.list_(schema.OBJECT)),
    mixed=pa.array([None, {"parent": "0" * 32, "label": "b", "share": 0.25}] * 20, schema.MIXED),
    weight=pa.array([0.5, None] * 20),
)
COUNTS = {"train": 3, "test": 2}


def samples(store: Store, rows: dict[int, str], split_of: dict[int, str]) -> Receipt:
    """A sample shard of these pictures and labels."""
    numbers = sorted(rows)
    table = PICTURES.take(pa.array(numbers, pa.int64()))
    told = {"label": [rows[n] for n in numbers], "split": [split_of.get(n, "train") for n in numbers]}
    for name, values in told.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values, pa.string()))
    return shards.write_named(store, "shards/gather", table, {})


def written(store: Store, prefix: str, made: list[Receipt], params: dict[str, Any], before: Before | None = None):
    form = partial(release_table, params=params)
    receipts = buckets.write(store, prefix, "real", made, COUNTS, form, before)
    return {one.name.removeprefix(prefix): (store.read(one.name), one.rows, one.counts) for one in receipts}, receipts


def test_a_split_grows_by_a_third_before_it_has_more_shards():
    steps = [buckets.stepped(needed) for needed in range(1, 1000)]
    assert sorted(set(steps))[:8] == [1, 2, 3, 4, 6, 8, 12, 16]
    assert all(needed <= shards_ < 1.5 * needed for needed, shards_ in enumerate(steps, 1))


def test_rows_without_bytes_have_a_shard():
    made = [Receipt("a", "", 3, 1, {"rows:train": 3, "rows:test": 0})]
    assert buckets.counts(made, 1) == {"train": 1}


LIFE = st.lists(st.dictionaries(st.integers(0, 39), st.sampled_from("ab"), max_size=6), min_size=1, max_size=5)


@given(
    first=LIFE,
    second=LIFE,
    kept=st.integers(0, 5),
    moved=st.sets(st.integers(0, 39)),
    params=st.sampled_from([PARAMS, EVERYTHING]),
)
@settings(max_examples=60, deadline=None)
def test_what_changed_gives_the_bytes_of_a_release_from_nothing(tmp_path_factory, first, second, kept, moved, params):
    store = open_store(f"file://{tmp_path_factory.mktemp('lake')}")
    apart = [dict(shard) for shard in [*first[:kept], *second]]  # some shards stay as they were
    for old in (first, apart):
        seen: set[int] = set()
        for shard in old:
            for number in seen & shard.keys():
                del shard[number]
            seen |= shard.keys()
    splits = dict.fromkeys(moved, "test")
    with inline():
        then = [samples(store, shard, {}) for shard in first]
        _, was = written(store, "releases/d/v1/", then, params)
        now = [samples(store, shard, splits) for shard in apart]
        again, _ = written(store, "releases/d/v2/", now, params, Before(then, "releases/d/v1/", was))
        whole, _ = written(store, "releases/d/v3/", now, params)
    assert again == whole


@pytest.fixture
def life(store: Store):
    """Eight sample shards of five pictures, their release, and the shards with another label in one."""
    with inline():
        then = [samples(store, dict.fromkeys(range(at, at + 5), "a"), {}) for at in range(0, 40, 5)]
        whole, was = written(store, "releases/d/v1/", then, PARAMS)
        now = [*then[1:], samples(store, {n: "ab"[n == 3] for n in range(5)}, {})]
        yield store, Before(then, "releases/d/v1/", was), now, whole


def test_only_what_changed_is_read_and_only_its_bucket_is_made(life, monkeypatch):
    store, before, now, whole = life
    read, encoded = [], []
    plainly, encode = shards.read, shards.encode
    monkeypatch.setattr(
        shards, "read", lambda store, one, *rest: (read.append(one.name), plainly(store, one, *rest))[1]
    )
    monkeypatch.setattr(shards, "encode", lambda table: (encoded.append(table.num_rows), encode(table))[1])
    again, _ = written(store, "releases/d/v2/", now, PARAMS, before)
    differ = [name for name in again if again[name] != whole[name]]
    assert len(differ) == len(encoded) == 1
    assert sorted(read) == sorted([now[-1].name, before.samples[0].name, before.prefix + differ[0]])


@pytest.mark.parametrize("harm", ["gone", "damaged"])
def test_a_release_that_is_no_more_what_it_was_is_made_of_all_samples(life, harm):
    store, before, now, _ = life
    for one in before.released:
        store.delete(one.name)
        if harm == "damaged":
            store.create(one.name, b"PAR1", {"rows": str(one.rows), "counts": "{}"})
    again, _ = written(store, "releases/d/v2/", now, PARAMS, before)
    assert again == written(store, "releases/d/v3/", now, PARAMS)[0]


def test_ids_that_are_there_twice_are_released_as_from_nothing(store: Store):
    """Which of two rows goes cannot be told from the release that has both."""
    with inline():
        then = [samples(store, dict.fromkeys(range(at, at + 6), "a"), {}) for at in range(0, 30, 5)]
        _, was = written(store, "releases/d/v1/", then, PARAMS)
        again, _ = written(store, "releases/d/v2/", then[1:], PARAMS, Before(then, "releases/d/v1/", was))
        assert again == written(store, "releases/d/v3/", then[1:], PARAMS)[0]


def test_of_two_equal_shards_one_goes(store: Store):
    with inline():
        then = [samples(store, dict.fromkeys(range(at, at + 5), "a"), {}) for at in (0, 0, 5, 10)]
        _, was = written(store, "releases/d/v1/", then, PARAMS)
        again, _ = written(store, "releases/d/v2/", then[1:], PARAMS, Before(then, "releases/d/v1/", was))
        assert again == written(store, "releases/d/v3/", then[1:], PARAMS)[0]


def test_another_half_of_the_shards_is_not_looked_for_in_what_was(life, monkeypatch):
    store, before, now, _ = life
    monkeypatch.setattr(shards, "copy", None)
    again, _ = written(store, "releases/d/v2/", now[4:], PARAMS, before)
    assert again == written(store, "releases/d/v3/", now[4:], PARAMS)[0]


def test_each_partition_is_one_shard(store: Store):
    """Else one worker would hold several of them, and others none."""
    receipt = samples(store, dict.fromkeys(range(40), "a"), dict.fromkeys(range(0, 40, 2), "test"))
    loaded = buckets._load(receipt, False, store=store, buckets=COUNTS)
    pieces = split(loaded, "bucket", 5, plain)
    assert [set(piece["bucket"].to_pylist()) for piece in pieces] == [{at} for at in range(5)]


def test_a_shard_is_as_large_as_is_asked_with_its_tensors():
    sizes = [Receipt("a", "d", 10, 1, {"bytes:train": 2**20, "rows:train": 1024, "bytes:test": 5, "rows:test": 1})]
    assert buckets.counts(sizes, 1.0) == {"train": 1, "test": 1}
    assert buckets.counts(sizes, 1.0, [1, 16, 16]) == {"train": 2, "test": 1}
