import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dsray.errors import DsrayError
from dsray.metrics.resize import CLEAN, RESIZERS, resize


def pictures(side, channels=3, width=None):
    return np.random.default_rng(side).integers(0, 256, (2, side, width or side, channels)).astype(np.uint8)


def by_torch(images, **mode):
    x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).float()
    return F.interpolate(x, size=(299, 299), align_corners=False, **mode).clamp(0, 255).numpy().transpose(0, 2, 3, 1)


@pytest.mark.parametrize("side", [28, 64, 299, 500])
def test_the_default_agrees_with_torchs_antialiased_bicubic(side):
    images = pictures(side, width=side + 3)
    wanted = by_torch(images, mode="bicubic", antialias=True)
    np.testing.assert_allclose(resize(images), wanted, atol=0.02)


@pytest.mark.parametrize("side", [28, 299, 500])
def test_half_pixel_bilinear_is_torchs(side):
    images = pictures(side, width=side + 3)
    np.testing.assert_allclose(resize(images, "half-pixel-bilinear"), by_torch(images, mode="bilinear"), atol=0.02)


def test_tensorflow_1_reads_pixel_i_at_i_times_the_scale():
    row = np.array([10, 20, 60], np.uint8)
    read = resize(np.tile(row[None, None, :, None], (1, 3, 1, 1)), "tf1-bilinear")[0, 7, :, 0]
    np.testing.assert_allclose(read, np.interp(np.arange(299) * 3 / 299, np.arange(3), row), atol=1e-4)


@pytest.mark.parametrize("resizer", RESIZERS)
def test_what_is_flat_stays_flat_and_grey_becomes_three_channels(resizer):
    flat = resize(np.full((1, 40, 50, 1), 200, np.uint8), resizer)
    assert flat.shape == (1, 299, 299, 3) and flat.dtype == np.float32
    np.testing.assert_allclose(flat, 200, atol=1e-3)
    grey = pictures(31, 1)
    np.testing.assert_allclose(resize(grey, resizer), resize(np.repeat(grey, 3, 3), resizer), atol=1e-3)
    np.testing.assert_allclose(resize(pictures(299), resizer), pictures(299), atol=1e-3)


def test_only_the_default_filters_before_it_shrinks():
    """A fine checkerboard is grey from afar."""
    board = np.indices((997, 997)).sum(0) % 2 * 255
    images = board[None, :, :, None].astype(np.uint8)
    assert resize(images, CLEAN).std() < 10 < 40 < resize(images, "tf1-bilinear").std()


def test_four_channels_are_a_sentence():
    with pytest.raises(DsrayError, match="not 4 channels"):
        resize(pictures(8, 4))
