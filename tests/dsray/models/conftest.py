"""Small training data that a model can learn in a moment: bars of brightness by class."""

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """Sums in one order: bit-equality is promised for one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def known_noise(monkeypatch):
    """Private noise that can be drawn again: only tests may know it."""
    monkeypatch.setenv("DSRAY_NOISE_SECRET", "of the tests")


@pytest.fixture(scope="session")
def bars():
    """uint8 [90, 12, 12, 1] and classes [90]: a bright bar at a place that the class names, with noise."""
    random = np.random.default_rng(0)
    labels = np.arange(90) % 3
    images = random.integers(0, 60, (90, 12, 12, 1)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, 4 * label : 4 * label + 4] += 150
    return images, labels
