from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from pydantic import ValidationError

from dsray.kinds.image.codec import Pixels, Undecodable, decode, encode
from dsray.kinds.image.objects import Object
from dsray.kinds.image.render import Render, thumbnail
from tests.dsray.kinds.image.pictures import images, in_form, photo, saved

SPEC = {"side": 28, "mode": "RGB", "format": "png", "fit": "pad"}


def rendered(payload: bytes, **spec: object) -> Pixels:
    return decode(in_form(payload, SPEC | spec)[0]).pixels_HWC


@given(
    images(),
    st.sampled_from([4, 28, 65]),
    st.sampled_from(["L", "RGB"]),
    st.sampled_from(["png", "jpeg", "webp"]),
    st.sampled_from(["pad", "crop", "stretch"]),
)
def test_every_image_gets_the_one_form(pixels_HWC: Pixels, side: int, mode: str, name: str, fit: str) -> None:
    spec = {"side": side, "mode": mode, "format": name, "fit": fit}
    out, _ = in_form(encode(pixels_HWC), spec)
    image = decode(out)
    assert (image.height, image.width, image.format) == (side, side, name)
    assert image.mode == ("RGB" if name == "webp" else mode)  # WebP has no grey
    assert in_form(encode(pixels_HWC), spec) == (out, [])


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
    once, _ = in_form(encode(pixels_HWC), SPEC | {"mode": "L" if channels == 1 else "RGB", "fit": fit})
    np.testing.assert_array_equal(decode(once).pixels_HWC, pixels_HWC)


def test_shrinking_is_antialiased() -> None:
    checkers = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)[:, :, None]
    out = rendered(saved(checkers, "png"), side=16, mode="L")
    assert np.ptp(out) <= 2
    assert abs(float(out.mean()) - 127.5) <= 2


@pytest.mark.parametrize("name", ["box", "bilinear", "bicubic", "lanczos"])
def test_filters_are_pillows(name: str) -> None:
    pixels = photo(3, 90, 60)
    theirs = Image.fromarray(pixels).resize((28, 28), Image.Resampling[name.upper()])
    np.testing.assert_array_equal(rendered(saved(pixels, "png"), fit="stretch", filter=name), np.asarray(theirs))


def test_orientation_is_applied_and_not_kept() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    out, _ = in_form(saved(photo(2, 28, 28), "jpeg", exif=exif, quality=100), SPEC)
    upright = np.rot90(decode(saved(photo(2, 28, 28), "jpeg", quality=100)).pixels_HWC, -1)
    np.testing.assert_array_equal(decode(out).pixels_HWC, upright)
    assert b"Exif" not in out and b"eXIf" not in out


@given(st.binary(max_size=100))
def test_what_is_no_image_is_undecodable_and_has_no_thumbnail(payload: bytes) -> None:
    with pytest.raises(Undecodable):
        decode(payload)
    assert thumbnail(payload, 32) is None


@given(images(), st.integers(1, 64))
def test_a_thumbnail_is_a_png_no_larger_than_asked(pixels_HWC: Pixels, side: int) -> None:
    small = thumbnail(encode(pixels_HWC), side)
    assert small is not None
    image = decode(small)
    assert image.format == "png"
    assert max(image.width, image.height) <= side


FITS = ("pad", "crop", "stretch", "inside")
SIZES = st.tuples(st.integers(4, 60), st.integers(4, 60))


@settings(deadline=None)
@given(st.tuples(st.integers(1, 90), st.integers(1, 90)), SIZES, st.sampled_from(FITS), st.integers(0, 255))
def test_every_fit_is_pillows(source: tuple[int, int], size: tuple[int, int], fit: str, fill: int) -> None:
    """Independently: Pillow's own pad, fit, resize and contain with a bicubic filter and no shortcut."""
    image = Image.fromarray(photo(3, source[1], source[0]))
    bicubic = Image.Resampling.BICUBIC
    share = min(size[0] / source[0], size[1] / source[1])
    if fit in ("pad", "inside") and round(share * min(source)) == 0:
        return  # Pillow refuses to make an image thinner than a pixel
    expected = {
        "pad": lambda: ImageOps.pad(image, size, bicubic, color=(fill,) * 3),
        "crop": lambda: ImageOps.fit(image, size, bicubic),
        "stretch": lambda: image.resize(size, bicubic, reducing_gap=None),
        "inside": lambda: ImageOps.contain(image, size, bicubic),
    }[fit]()
    out = rendered(saved(image, "png"), size=size, fit=fit, fill=fill)
    tolerance = 1 if fit == "crop" else 0  # the window's edges may differ in the last bit
    np.testing.assert_allclose(out.astype(int), np.asarray(expected, int), atol=tolerance)


@pytest.mark.parametrize("fit", FITS)
def test_a_thread_of_one_pixel_has_its_form_too(fit: str) -> None:
    for shape in ((1, 3000, 3), (3000, 1, 3)):
        out = rendered(saved(np.full(shape, 200, np.uint8), "png"), side=16, fit=fit)
        assert out.max() == 200 and (fit == "inside" or out.shape[:2] == (16, 16))


@settings(deadline=None, max_examples=60)
@given(
    st.tuples(st.integers(40, 200), st.integers(40, 200)),
    SIZES,
    st.sampled_from(FITS),
    st.tuples(*[st.floats(0, 0.6)] * 2, *[st.floats(0.3, 0.4)] * 2),
)
def test_a_rendered_box_is_the_box_of_the_rendered_pixels(
    source: tuple[int, int], size: tuple[int, int], fit: str, share: tuple[float, float, float, float]
) -> None:
    left, top, width, height = (round(part * source[axis % 2]) for axis, part in enumerate(share))
    pixels = np.zeros((source[1], source[0], 1), np.uint8)
    pixels[top : top + height, left : left + width] = 255
    thing: Object = {"label": "a", "x": left, "y": top, "width": width, "height": height}
    media, moved = in_form(encode(pixels), SPEC | {"mode": "L", "size": size, "fit": fit}, [thing])
    assume(moved and min(moved[0]["width"], moved[0]["height"]) > 1.5)
    rows, columns = np.nonzero(decode(media).pixels_HWC[:, :, 0] > 127)
    seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    sides = [moved[0]["x"], moved[0]["y"], moved[0]["x"] + moved[0]["width"], moved[0]["y"] + moved[0]["height"]]
    assert np.abs(np.subtract(sides, seen)).max() <= 1, (sides, seen)
    assert moved[0]["label"] == "a"


def test_objects_that_a_crop_leaves_out_are_dropped_and_polygons_are_cut() -> None:
    payload = saved(photo(1, 20, 60), "png")
    out: Object = {"label": "out", "x": 0, "y": 0, "width": 21, "height": 20}
    half: Object = {"label": "half", "x": 10, "y": 0, "width": 20, "height": 20}
    half["polygon"] = [10, 0, 30, 0, 30, 20, 10, 20]
    _, moved = in_form(payload, SPEC | {"fit": "crop", "side": 40}, [out, half])
    assert [thing["label"] for thing in moved] == ["half"]
    assert (moved[0]["x"], moved[0]["width"], moved[0]["height"]) == (0, 20, 40)
    corners = np.reshape(moved[0]["polygon"] or [], (-1, 2)).tolist()
    assert sorted(corners) == [[0, 0], [0, 40], [20, 0], [20, 40]]


@settings(deadline=None, max_examples=30)
@given(st.floats(0, 1), st.booleans(), st.integers(0, 100), st.sampled_from([(60, 200), (300, 900)]))
def test_an_entropy_crop_finds_the_detailed_region(at: float, tall: bool, seed: int, shape: tuple[int, int]) -> None:
    """A bright gradient as wide as the image, and a patch of fine texture somewhere in it."""
    short, long = shape
    pixels = np.tile(np.linspace(40, 250, long), (short, 1))
    begin = round(at * (long - short))
    pixels[:, begin : begin + short] = np.random.default_rng(seed).integers(60, 190, (short, short))
    pixels = pixels.astype(np.uint8)[:, :, None]
    payload = saved(pixels.swapaxes(0, 1) if tall else pixels, "png")
    x, y = (0, begin) if tall else (begin, 0)
    marked: Object = {"label": "texture", "x": x, "y": y, "width": short, "height": short}
    spec = SPEC | {"mode": "L", "fit": "crop", "anchor": "entropy", "side": 64}
    _, (kept,) = in_form(payload, spec, [marked])
    assert kept["width"] * kept["height"] > 0.93 * 64 * 64
    assert in_form(payload, spec) == in_form(payload, spec)


@pytest.mark.parametrize("shape", [(1, 9), (9, 1), (30, 90), (90, 30), (40, 41)])
def test_an_entropy_crop_of_nothing_is_the_middle(shape: tuple[int, int]) -> None:
    flat = saved(np.full((*shape, 1), 77, np.uint8), "png")
    marked: Object = {"label": "", "x": 0, "y": 0, "width": shape[1], "height": shape[0]}
    spec = SPEC | {"mode": "L", "fit": "crop", "side": 32}
    assert in_form(flat, spec | {"anchor": "entropy"}, [marked]) == in_form(flat, spec, [marked])


@pytest.mark.parametrize("name", ["jpeg", "webp"])
def test_quality_is_pillows(name: str) -> None:
    pixels = photo(1, 32, 32)
    for quality in (30, 95):
        out, _ = in_form(encode(pixels), SPEC | {"side": 32, "format": name, "quality": quality})
        options = {"subsampling": 0} if name == "jpeg" else {"method": 4}
        assert out == saved(pixels, name, quality=quality, **options)


def test_size_takes_the_place_of_side() -> None:
    assert (Render().side, Render().size) == (64, None)
    wide: Any = {"size": [40, 20]}
    dumped = Render.model_validate(wide).model_dump(mode="json")
    assert dumped == Render().model_dump(mode="json") | {"side": None} | wide
    assert Render.model_validate(dumped).size == (40, 20)
    for wrong in ({"side": 32, "size": [40, 20]}, {"side": None}, {"size": [40]}, {"size": [40, 2]}, {"fill": 256}):
        with pytest.raises(ValidationError):
            Render.model_validate(wrong)
