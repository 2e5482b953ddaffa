import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dsray.kinds.image.codec import Pixels, Undecodable, decode, encode
from dsray.kinds.image.render import render, thumbnail
from tests.dsray.kinds.image.pictures import images, photo, saved

SPEC = {"side": 28, "mode": "RGB", "format": "png", "fit": "pad"}


def rendered(payload: bytes, **spec: object) -> Pixels:
    return decode(render(payload, SPEC | spec)[0]).pixels_HWC


@given(
    images(),
    st.sampled_from([4, 28, 65]),
    st.sampled_from(["L", "RGB"]),
    st.sampled_from(["png", "jpeg", "webp"]),
    st.sampled_from(["pad", "crop", "stretch"]),
)
def test_every_image_gets_the_one_form(pixels_HWC: Pixels, side: int, mode: str, name: str, fit: str) -> None:
    spec = {"side": side, "mode": mode, "format": name, "fit": fit}
    out, _ = render(encode(pixels_HWC), spec)
    image = decode(out)
    assert (image.height, image.width, image.format) == (side, side, name)
    assert image.mode == ("RGB" if name == "webp" else mode)  # WebP has no grey
    assert render(encode(pixels_HWC), spec) == (out, [])


@pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [16, 28, 200])
def test_stretch_is_pillows_resize(name: str, channels: int, side: int) -> None:
    payload = saved(photo(1, channels=channels), name)
    source = decode(payload).pixels_HWC
    expected = [
        np.asarray(Image.fromarray(source[:, :, channel]).resize((side, side), Image.Resampling.BICUBIC))
        for channel in range(source.shape[2])
    ]
    mode = "RGB" if source.shape[2] == 3 else "L"
    np.testing.assert_array_equal(rendered(payload, side=side, mode=mode, fit="stretch"), np.stack(expected, axis=2))


def test_pad_keeps_the_aspect_between_black_bars() -> None:
    out = rendered(saved(np.full((20, 40, 3), 200, np.uint8), "png"), side=40)
    assert (out[10:30] == 200).all()
    assert (out[:10] == 0).all() and (out[30:] == 0).all()


def test_crop_takes_the_middle() -> None:
    stripes = np.repeat(np.repeat(np.array([10, 100, 250], np.uint8), 20)[None, :, None], 20, axis=0)
    assert (rendered(saved(stripes, "png"), side=20, mode="L", fit="crop") == 100).all()


@given(st.integers(0, 50), st.sampled_from(["pad", "crop", "stretch"]), st.sampled_from([1, 3]))
def test_an_image_of_the_form_keeps_its_pixels(seed: int, fit: str, channels: int) -> None:
    pixels_HWC = photo(seed, 28, 28, channels)
    once, _ = render(encode(pixels_HWC), SPEC | {"mode": "L" if channels == 1 else "RGB", "fit": fit})
    np.testing.assert_array_equal(decode(once).pixels_HWC, pixels_HWC)


def test_shrinking_is_antialiased() -> None:
    checkers = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)[:, :, None]
    out = rendered(saved(checkers, "png"), side=16, mode="L")
    assert np.ptp(out) <= 2
    assert abs(float(out.mean()) - 127.5) <= 2


def test_orientation_is_applied_and_not_kept() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    out, _ = render(saved(photo(2, 28, 28), "jpeg", exif=exif, quality=100), SPEC)
    upright = np.rot90(decode(saved(photo(2, 28, 28), "jpeg", quality=100)).pixels_HWC, -1)
    np.testing.assert_array_equal(decode(out).pixels_HWC, upright)
    assert b"Exif" not in out and b"eXIf" not in out


@given(st.binary(max_size=100))
def test_what_is_no_image_is_undecodable_and_has_no_thumbnail(payload: bytes) -> None:
    with pytest.raises(Undecodable):
        render(payload, SPEC)
    assert thumbnail(payload, 32) is None


@given(images(), st.integers(1, 64))
def test_a_thumbnail_is_a_png_no_larger_than_asked(pixels_HWC: Pixels, side: int) -> None:
    small = thumbnail(encode(pixels_HWC), side)
    assert small is not None
    image = decode(small)
    assert image.format == "png"
    assert max(image.width, image.height) <= side
