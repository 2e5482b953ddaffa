import numpy as np
import pytest
import torch

from dsray.models.feed import Feed

IMAGES = np.arange(7, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 1), np.uint8)


def feed(batch: int) -> Feed:
    return Feed(IMAGES, np.arange(7), batch, seed=3, device="cpu")


def test_an_epoch_has_each_row_once_and_the_next_another_order():
    rows = torch.cat([feed(3).rows(feed(3).places(step, 0, 1))[1] for step in range(14)]).reshape(6, 7)
    assert all(sorted(epoch.tolist()) == list(range(7)) for epoch in rows)
    assert len({tuple(epoch.tolist()) for epoch in rows}) > 1


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_the_ranks_slices_are_the_global_batch(world):
    whole = feed(10).places(4, 0, 1)
    assert np.array_equal(np.concatenate([feed(10).places(4, rank, world) for rank in range(world)]), whole)


def test_rows_and_noise_depend_on_the_place_only():
    once, again = feed(5), feed(5)
    list(map(once.rows, (once.places(step, 0, 1) for step in range(9))))  # has walked there
    place = np.array([41, 6])
    for a, b in zip(
        (*once.rows(place), once.noise(place, 4)), (*again.rows(place), again.noise(place, 4)), strict=True
    ):
        assert torch.equal(a, b)
    assert torch.equal(once.noise(np.array([6]), 4)[0], again.noise(place, 4)[1])


def test_pixels_become_minus_one_to_one():
    images, labels = feed(7).rows(np.arange(7))
    torch.testing.assert_close(images[:, 0, 0, 0], labels.float() / 127.5 - 1)
