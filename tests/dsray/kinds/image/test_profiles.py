import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from dsray.kinds.image.codec import decode
from dsray.kinds.image.profiles import to_srgb
from tests.dsray.kinds.image.pictures import ADOBE_RGB, SRGB, photo, profile, saved


def curved(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """sRGB's curve: light in [0, 1] to levels in [0, 255]."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) * 255


def test_a_colour_profile_is_applied() -> None:
    """Against the definition: linearise by gamma, to XYZ by the primaries, from XYZ by sRGB's, to sRGB's curve."""
    stored = photo(9)
    found = decode(saved(stored, "png", icc_profile=profile("Adobe-like")))
    assert found.profile == "Adobe-like"
    linear = (stored / 255.0) ** 2.2 @ np.array(ADOBE_RGB) @ np.linalg.inv(np.array(SRGB))
    linear = np.clip(linear, 0, 1)
    expected = curved(linear)
    assert np.abs(found.pixels_HWC - expected).max() < 3
    assert np.abs(found.pixels_HWC - expected).mean() < 0.5


def test_srgb_itself_changes_nothing() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    found = decode(saved(photo(9), "png", icc_profile=srgb))
    assert found.profile is None
    np.testing.assert_array_equal(found.pixels_HWC, photo(9))


@pytest.mark.parametrize("damage", [b"", b"x", profile("Cut")[:200], profile("Grey", primaries=()), bytes(500)])
def test_a_profile_that_is_broken_or_of_another_mode_counts_as_none(damage: bytes) -> None:
    found = decode(saved(photo(9), "jpeg", icc_profile=damage))
    assert found.profile is None
    np.testing.assert_array_equal(found.pixels_HWC, decode(saved(photo(9), "jpeg")).pixels_HWC)


def test_a_grey_profile_is_applied_and_grey_stays_grey() -> None:
    stored = photo(9, channels=1)
    found = decode(saved(stored, "png", icc_profile=profile("Gamma 1.8", primaries=(), gamma=1.8)))
    assert (found.profile, found.pixels_HWC.shape[2]) == ("Gamma 1.8", 1)
    linear = (stored / 255.0) ** 1.8
    expected = curved(linear)
    assert np.abs(found.pixels_HWC - expected).max() < 3


def test_an_image_without_a_profile_is_itself() -> None:
    image = Image.fromarray(photo(9))
    assert to_srgb(image, None) == (image, None)
