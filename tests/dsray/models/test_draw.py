import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dsray.models.draw import INNER, inner_batches, paint, to_uint8

INDICES = st.lists(st.integers(0, 500), min_size=1, max_size=60).map(np.array)


@given(INDICES)
def test_every_row_is_in_one_batch_at_the_place_of_its_index(indices):
    groups = inner_batches(indices)
    assert sorted(np.concatenate([rows for rows, _ in groups]).tolist()) == list(range(len(indices)))
    for rows, slots in groups:
        assert np.array_equal(indices[rows] % INNER, slots) and len(set(slots.tolist())) == len(slots)
        assert len(set((indices[rows] // INNER).tolist())) == 1


class Spread(nn.Module):
    """An image whose pixels are the latent's numbers, brighter by class."""

    def forward(self, z, classes):
        return (z + classes[:, None] / 10).view(-1, 1, 2, 2)


@settings(max_examples=20)
@given(INDICES)
def test_rows_come_back_in_the_order_asked_for(indices):
    latents = np.repeat(indices[:, None] / 500 - 0.5, 4, axis=1)
    labels = indices % 4
    images = paint(Spread(), latents, labels, indices, "cpu")
    expected = np.round(
        (latents.astype(np.float32) + (labels[:, None] / 10).astype(np.float32) + 1) * np.float32(127.5)
    )
    assert np.abs(images.reshape(-1, 4).astype(int) - expected.clip(0, 255)).max() <= 1


def test_bytes_round_and_clip():
    image = torch.tensor([-7.0, -1.0, 0.0, 1.0, 9.0]).view(1, 1, 1, 5)
    assert to_uint8(image).ravel().tolist() == [0, 0, 128, 255, 255]
