"""trainset: the rows in the order of their ids, whatever the shards; on disk the same bytes as in memory."""

import numpy as np
import pyarrow as pa
import pytest

from dsray import schema
from dsray.errors import DsrayError
from dsray.lake import shards
from dsray.models.feed import Feed, Mapped
from dsray.stages import trainset
from dsray.stages.samples import counts, sample_table
from rows import drawing, png

ROWS = 60


def write(store, rows, number):
    """A shard of those rows, of which every fourth is no training row."""
    table = sample_table(
        len(rows),
        id=pa.array([f"{row:032x}" for row in rows]),
        media=pa.array([{"bytes": png(drawing(row)), "path": "x.png"} for row in rows], schema.MEDIA),
        label=pa.array([str(row) for row in rows]),
        split=pa.array(["train" if row % 4 else "test" for row in rows]),
    )
    return shards.write(store, f"shards/render/{number}.parquet", table, counts(table))


@pytest.fixture
def samples(store):
    order = np.random.default_rng(0).permutation(ROWS)
    return [write(store, rows.tolist(), number) for number, rows in enumerate(np.array_split(order, 3))]


@pytest.mark.parametrize("room", [0, 2**30])
def test_training_rows_in_the_order_of_their_ids(store, samples, room, monkeypatch):
    monkeypatch.setattr(trainset, "_PART", 7)
    images, labels = trainset.arrays(store, samples, "image", room)
    wanted = [row for row in range(ROWS) if row % 4]
    assert labels == [str(row) for row in wanted] and isinstance(images, np.memmap) == (room == 0)
    assert np.array_equal(images, np.stack([drawing(row) for row in wanted])[..., None])


def test_a_feed_from_the_disk_gives_the_batches_of_one_from_memory(store, samples):
    (disk, _), (memory, _) = (trainset.arrays(store, samples, "image", room) for room in (0, 2**30))
    labels = np.arange(len(disk))
    here, there = (Feed(images, labels, 16, 7, "cpu") for images in (memory, disk))
    assert isinstance(there.images_NCHW, Mapped)
    for step in [0, 1, 2, 9, 3, 3]:  # a resumed or repeated one is not the one that was expected
        places = here.places(step, 0, 1)
        for a, b in zip(here.rows(places), there.rows(places), strict=True):
            assert np.array_equal(a, b)
    assert np.array_equal(here.images_NCHW[4:9], there.images_NCHW[4:9])


def test_a_disk_that_is_too_small_is_said(store, samples, monkeypatch):
    monkeypatch.setattr(trainset.os, "statvfs", lambda folder: type("Disk", (), {"f_bavail": 1, "f_frsize": 512}))
    with pytest.raises(DsrayError, match="Set TMPDIR to a larger disk"):
        trainset.arrays(store, samples, "image", 0)


def test_half_of_the_free_memory_is_shared_by_the_workers(monkeypatch):
    monkeypatch.setattr(trainset, "_available", lambda: 1000)
    assert [trainset.room("cpu", workers) for workers in (1, 2, 5)] == [500, 250, 100]
    monkeypatch.undo()
    assert trainset._available() > 2**20
