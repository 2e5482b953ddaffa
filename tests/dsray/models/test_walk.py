import numpy as np
import pytest

from dsray import models
from dsray.models import draw, gan
from dsray.models.configs import ARCHITECTURES
from dsray.models.walk import arc, line, walk


@pytest.mark.parametrize("name", sorted({*ARCHITECTURES.values()} - {"dpgan"}))  # which paints as gan does
def test_its_ends_are_rows_that_sampling_makes(bars, name):
    architecture = models.architecture(name)
    config = architecture.PRESETS["tiny"]
    weights = architecture.start(config, *bars, 3, 1, "cpu").weights()
    found = walk(architecture, config, weights, 3, 5, "cpu", rows=8, steps=4)
    assert found.shape == (8, 4, 12, 12, 1) and found.dtype == np.uint8
    index = np.array([0, 3, 1, 4, 2, 5, 6, 9])  # two of each class, then again the first
    ends = draw.sample(architecture, config, weights, index % 3, index, 5, "cpu")
    near(found[:4, [0, 3]].reshape(8, 12, 12, 1), ends)
    across = draw.sample(architecture, config, weights, np.array([0, 1, 1, 2]), np.array([3, 3, 3, 3]), 5, "cpu")
    near(found[5, [0, 1, 3]], across[[0, 1, 3]])


def near(found, expected):
    """The place in a batch may decide how the last bit is rounded."""
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_one_class_is_walked_through_in_all_rows(bars):
    images, labels = bars
    training = gan.start(gan.PRESETS["tiny"], images, 0 * labels, 1, 1, "cpu")
    found = walk(gan, gan.PRESETS["tiny"], training.weights(), 1, 5, "cpu", rows=2, steps=3)
    assert all(len({image.tobytes() for image in row}) == 3 for row in found)


def test_an_arc_keeps_the_length_and_turns_evenly():
    start, end = np.array([[2.0, 0.0, 0.0]]), np.array([[0.0, 0.0, 2.0]])
    (path,) = arc(start, end, np.linspace(0, 1, 4))
    angle = np.arange(4) * np.pi / 6
    np.testing.assert_allclose(path, 2 * np.stack([np.cos(angle), 0 * angle, np.sin(angle)], 1), atol=1e-12)


@pytest.mark.parametrize("path", [arc, line])
def test_a_path_has_its_ends_even_where_they_are_one(path):
    random = np.random.default_rng(0)
    start, end = random.normal(size=(5, 7)), random.normal(size=(5, 7))
    end[0] = start[0]
    found = path(start, end, np.linspace(0, 1, 3))
    np.testing.assert_allclose(found[:, 0], start, rtol=1e-9)
    np.testing.assert_allclose(found[:, -1], end, rtol=1e-9)
    np.testing.assert_allclose(found[0], np.broadcast_to(start[0], (3, 7)), rtol=1e-6)
