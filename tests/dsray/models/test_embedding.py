from dataclasses import replace

import numpy as np
import pytest
import torch

from dsray.models.configs import MERF_PRESETS
from dsray.models.embedding import Embedding, basis

CONFIG = replace(MERF_PRESETS["tiny"], modes=4, frequencies=40)


def embedding(shape=(6, 7, 1), **changes):
    return Embedding(replace(CONFIG, **changes), shape, seed=1, device="cpu")


def rows(count, shape=(6, 7, 1), seed=0):
    height, width, channels = shape
    random = np.random.default_rng(seed)
    images = torch.from_numpy(random.integers(0, 256, (count, channels, height, width)).astype(np.uint8))
    return images, torch.from_numpy(random.integers(0, 3, count))


@pytest.mark.parametrize("shape", [(6, 7, 1), (3, 9, 3)])
def test_the_basis_is_orthonormal(shape):
    found = basis(shape, 4)
    np.testing.assert_allclose(found @ found.T, np.eye(len(found)), atol=1e-12)
    assert found.shape[1] == np.prod(shape)


@pytest.mark.parametrize("shape", [(6, 7, 1), (3, 9, 3)])
@pytest.mark.parametrize("radius", [0.01, 0.4, 5.0])
def test_one_row_changes_one_class_by_at_most_1(shape, radius):
    """The sensitivity: all that the promise of privacy rests on."""
    made = embedding(shape, radius=radius)
    images, labels = rows(60, shape)
    images[0], images[1] = 0, 255
    whole = made.sums(images, labels, 3)
    for out in range(12):
        rest = torch.arange(60) != out
        change = whole - made.sums(images[rest], labels[rest], 3)
        assert np.linalg.norm(change) <= 1 + 1e-5
        assert np.abs(np.delete(change, int(labels[out]), 0)).max() < 1e-4
        assert np.linalg.norm(change) > 0.7


def test_sums_are_those_of_the_halves():
    images, labels = rows(50)
    made = embedding()
    both = made.sums(images[:20], labels[:20], 3) + made.sums(images[20:], labels[20:], 3)
    np.testing.assert_allclose(made.sums(images, labels, 3), both, rtol=1e-5, atol=1e-5)


def test_without_noise_the_gaussian_has_the_rows_moments():
    images, labels = rows(300)
    made = embedding(modes=9, radius=5.0)  # all frequencies, nothing darkened
    mean, root = made.gaussians(made.sums(images, labels, 3), 0.0, rank=42)
    for number in range(3):
        mine = images[labels == number].flatten(1).double().numpy() / 255
        np.testing.assert_allclose(mean[number], mine.mean(0), atol=1e-3)
        np.testing.assert_allclose(root[number].T @ root[number], np.cov(mine.T, bias=True), atol=2e-3)


def test_noise_alone_makes_no_direction():
    made = embedding()
    quiet = made.sums(*rows(200), 3)
    noise = np.random.default_rng(0).normal(0, 1e3, quiet.shape)
    assert not made.gaussians(quiet * [[1]] + 0 * noise, 1e3, rank=5)[1].any()
    empty = made.sums(rows(1)[0][:0], rows(1)[1][:0], 3)
    mean, root = made.gaussians(empty, 0.5, rank=5)
    assert np.isfinite(mean).all() and np.isfinite(root).all()


def test_fourier_features_have_the_kernel_as_product():
    made = embedding(frequencies=20_000, kernel_wide=0.3, kernel_narrow=0.3)
    images = rows(8)[0].float() / 255
    waves, pixels = made.waves(images), images.flatten(1)
    expected = torch.exp(-(torch.cdist(pixels, pixels) ** 2) / (2 * 0.3**2 * 42))
    torch.testing.assert_close(waves @ waves.T, expected, atol=0.03, rtol=0)
