import colorsys
import json
import math
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pydantic import ValidationError
from scipy import ndimage, stats

from dsray import keys
from dsray.kinds.image import geometry, mix, noise
from dsray.kinds.image.augment import Augment, apply, plan, transform
from dsray.kinds.image.codec import Pixels, decode, encode
from dsray.kinds.image.geometry import homography
from dsray.kinds.image.objects import Object
from tests.dsray.kinds.image.pictures import photo, printed_by_two_processes, saved

SPEC = {"rotate": 12, "scale": [0.9, 1.1], "translate": 0.08, "shear": 5, "flip": True}
SPEC |= {"brightness": 0.1, "contrast": 0.2, "noise": 0.03}
ALL = Augment.model_validate(SPEC | {
    "vertical_flip": True, "crop": [0.7, 1], "perspective": 0.05, "gamma": [0.8, 1.3], "hue": 20, "saturation": 0.3,
    "blur": 1, "cutout": 0.2, "salt_pepper": 0.01, "jpeg": [40, 90], "mixup": 0.3, "cutmix": 0.3, "border": "black",
}).model_dump(mode="json")  # fmt: skip

IDS = st.lists(st.text(max_size=5).map(keys.row_id), max_size=20)
COPIES = st.integers(0, 5)


@given(IDS, IDS, st.integers(0, 2**63 - 1), COPIES)
def test_a_batch_equals_its_halves(left: list[str], right: list[str], seed: int, copy: int) -> None:
    assert plan(ALL, seed, left + right, copy) == plan(ALL, seed, left, copy) + plan(ALL, seed, right, copy)
    assert plan(ALL, seed, right[::-1], copy) == plan(ALL, seed, right, copy)[::-1]


@given(IDS, COPIES)
def test_parameters_survive_json_exactly_in_any_language(ids: list[str], copy: int) -> None:
    for param in plan(ALL, 7, ids, copy):
        assert json.loads(json.dumps(param)) == param
        assert 0 <= param["noise_seed"] < 2**53
        assert all(value == round(value, 6) for value in numbers(param))


def numbers(value: Any) -> list[float]:
    if isinstance(value, dict | list):
        return [number for part in (value.values() if isinstance(value, dict) else value) for number in numbers(part)]
    return [value] if isinstance(value, int | float) else []


def test_parameters_hold_only_what_acts() -> None:
    assert (
        plan({}, 7, [keys.row_id("a")], 0) == plan(Augment().model_dump(mode="json"), 7, [keys.row_id("a")], 0) == [{}]
    )
    assert set(plan({"rotate": 5, "noise": 0.1}, 7, [keys.row_id("a")], 0)[0]) == {"rotate", "noise", "noise_seed"}
    assert set(plan({"border": "black", "noise": 0.1}, 7, [keys.row_id("a")], 0)[0]) == {"noise", "noise_seed"}


def test_one_transform_more_changes_no_other() -> None:
    ids = [keys.row_id(str(index)) for index in range(20)]
    for few, all_of_them in zip(plan(SPEC, 7, ids, 0), plan(ALL, 7, ids, 0), strict=True):
        assert few == {name: all_of_them[name] for name in few}


RANGES = {"rotate": (-12, 12), "scale": (0.9, 1.1), "shift_x": (-0.08, 0.08), "shift_y": (-0.08, 0.08),
          "shear": (-5, 5),
          "brightness": (-0.1, 0.1), "contrast": (-0.2, 0.2), "gamma": (0.8, 1.3), "hue": (-20, 20),
          "saturation": (-0.3, 0.3), "blur": (0, 1)}  # fmt: skip


def test_parameters_fill_their_ranges_evenly_and_independently() -> None:
    planned = plan(ALL, 7, [keys.row_id(str(index)) for index in range(4000)], 1)
    column = {name: np.array([param[name] for param in planned]) for name in RANGES}
    column = {name: (column[name] - low) / (high - low) for name, (low, high) in RANGES.items()}
    corner_N8 = np.array([param["corners"] for param in planned]) / 0.1 + 0.5
    x_N, y_N, side_N = np.array([param["crop"] for param in planned]).T
    column |= {f"corner {index}": corner_N8[:, index] for index in range(8)}
    column |= {"area": (side_N**2 - 0.7) / 0.3, "crop x": x_N / (1 - side_N), "crop y": y_N / (1 - side_N)}
    column |= {f"cutout {axis}": np.array([param["cutout"][axis] for param in planned]) for axis in (0, 1)}
    for name, share_N in column.items():
        assert share_N.min() >= -0.01 and share_N.max() <= 1.01, name
        assert stats.kstest(share_N, "uniform").pvalue > 1e-4, name
    correlation = np.corrcoef(np.stack(list(column.values())))
    assert np.abs(correlation - np.eye(len(column))).max() < 0.07
    for name in ("flip", "vertical_flip"):
        assert 0.45 < np.mean([name in param for param in planned]) < 0.55
    quality_N = np.array([param["jpeg"] for param in planned])
    assert stats.chisquare(np.bincount(quality_N, minlength=91)[40:]).pvalue > 1e-4


def test_mixing_shares_are_from_the_beta_distribution() -> None:
    planned = plan({"mixup": 0.5, "cutmix": 0.5}, 7, [keys.row_id(str(index)) for index in range(4000)], 0)
    blended = [param["mix"] for param in planned if param["mix"]["how"] == "mixup"]
    assert 0.45 < len(blended) / 4000 < 0.55
    assert stats.kstest([how["share"] for how in blended], stats.beta(0.4, 0.4).cdf).pvalue > 1e-4
    few = plan({"mixup": 0.1, "cutmix": 0.2}, 7, [keys.row_id(str(index)) for index in range(4000)], 0)
    hows = [param["mix"]["how"] for param in few if "mix" in param]
    assert 0.08 < hows.count("mixup") / 4000 < 0.12 and 0.17 < hows.count("cutmix") / 4000 < 0.23


def test_seeds_rows_and_copies_all_change_the_transform() -> None:
    ids = [keys.row_id("a"), keys.row_id("b")]
    planned = [*plan(ALL, 1, ids, 0), *plan(ALL, 1, ids, 1), *plan(ALL, 2, ids, 0)]
    assert len({json.dumps(param) for param in planned}) == 6


def test_an_empty_spec_changes_nothing() -> None:
    for param in plan({}, 7, [keys.row_id(str(index)) for index in range(5)], 0):
        np.testing.assert_array_equal(transform(photo(1), param), photo(1))


AFFINE = st.fixed_dictionaries(
    {
        "rotate": st.floats(-180, 180),
        "scale": st.floats(0.6, 1.6),
        "shift_x": st.floats(-0.1, 0.1),
        "shift_y": st.floats(-0.1, 0.1),
        "shear": st.floats(-20, 20),
        "flip": st.booleans(),
    }
)


@settings(deadline=None)
@given(AFFINE)
def test_the_fused_warp_is_the_steps_one_after_the_other(affine: dict[str, Any]) -> None:
    """Independently: five maps of coordinates in a row, each by its textbook formula, and scipy to interpolate."""
    height, width = 40, 56
    pixels = photo(3, height, width, 1)
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    x, y = x - (width - 1) / 2, y - (height - 1) / 2  # from target back to source
    x, y = x - affine["shift_x"] * width, y - affine["shift_y"] * height
    turn = math.radians(affine["rotate"])  # counter-clockwise as seen, with y downwards
    x, y = x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn)
    x, y = x / affine["scale"], y / affine["scale"]
    x = x - y * math.tan(math.radians(affine["shear"]))
    x = -x if affine["flip"] else x
    where = [y + (height - 1) / 2, x + (width - 1) / 2]
    expected = ndimage.map_coordinates(pixels[:, :, 0].astype(float), where, order=1, mode="mirror")
    found = transform(pixels, affine)[:, :, 0]
    assert np.abs(found - expected).max() < 3  # OpenCV may round positions to 1/32 of a pixel
    assert np.abs(found - expected).mean() < 0.6


@given(AFFINE, st.sampled_from([(28, 28), (40, 56)]))
def test_the_centre_moves_by_the_shift_alone(affine: dict[str, Any], size: tuple[int, int]) -> None:
    height, width = size
    centre = np.array([width / 2, height / 2])
    moved = homography(affine, height, width) @ [*centre, 1]
    shift = [affine["shift_x"] * width, affine["shift_y"] * height]
    np.testing.assert_allclose(moved, [*(centre + shift), 1], atol=1e-9)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-0.2, 0.2), min_size=8, max_size=8))
def test_perspective_is_the_solved_homography(corners: list[float]) -> None:
    """Independently: eight linear equations for four pairs of corners, and scipy to interpolate."""
    height, width = 40, 56
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    target = source + np.reshape(corners, (4, 2)) * [width, height]
    rows, right = [], []
    for (x, y), (u, v) in zip(target, source, strict=True):  # from target back to source
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        right += [u, v]
    back = np.append(np.linalg.solve(rows, right), 1).reshape(3, 3)
    y, x = np.mgrid[0:height, 0:width] + 0.5
    u, v, w = np.tensordot(back, np.stack([x, y, np.ones_like(x)]), 1)
    pixels = cv2.GaussianBlur(photo(3, height, width, 1), (0, 0), 2)[:, :, None]
    expected = ndimage.map_coordinates(
        pixels[:, :, 0].astype(float), [v / w - 0.5, u / w - 0.5], order=1, mode="mirror"
    )
    found = transform(pixels, {"corners": corners})[:, :, 0]
    sees = (np.abs(u / w - width / 2) < width / 2 - 1) & (np.abs(v / w - height / 2) < height / 2 - 1) & (w > 0)
    assert sees.mean() > 0.3
    assert np.abs(found - expected)[sees].max() < 3


@settings(deadline=None)
@given(st.floats(0.2, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_crop_is_pillows_box_resized(side: float, x: float, y: float) -> None:
    height, width = 40, 56
    pixels = cv2.GaussianBlur(photo(3, height, width), (0, 0), 2)
    left, top = x * (1 - side), y * (1 - side)
    box = (left * width, top * height, (left + side) * width, (top + side) * height)
    expected = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR, box)
    found = transform(pixels, {"crop": [left, top, side]})
    inner = np.s_[4:-4, 4:-4]  # beyond its box Pillow sees nothing, a warp sees the neighbours
    assert np.abs(found.astype(int) - np.asarray(expected, int))[inner].max() <= 4


def test_all_geometric_steps_in_one_warp_are_their_matrices_product() -> None:
    for number, param in enumerate(plan(ALL, 7, [keys.row_id(str(index)) for index in range(20)], 0)):
        size = (30 + number, 47)
        product = np.eye(3)
        affine = ("rotate", "scale", "shift_x", "shift_y", "shear", "flip", "vertical_flip")
        for names in (affine, ("crop",), ("corners",)):
            product = homography({name: param[name] for name in names if name in param}, *size) @ product
        np.testing.assert_allclose(homography(param, *size), product, atol=1e-9)


@pytest.mark.parametrize("border", ["mirror", "black"])
def test_beyond_the_border_is_the_mirror_or_black(border: str) -> None:
    param = plan({"translate": 1, "border": border}, 3, [keys.row_id("a")], 0)[0] | {"shift_x": 0.5, "shift_y": 0}
    found = transform(np.arange(8, dtype=np.uint8).reshape(1, 8, 1), param).ravel().tolist()
    assert found == [4, 3, 2, 1, 0, 1, 2, 3] if border == "mirror" else found == [0, 0, 0, 0, 0, 1, 2, 3]


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarter_turns_and_mirrors_are_numpys(quarters: int) -> None:
    square = photo(4, 32, 32)
    np.testing.assert_array_equal(transform(square, {"rotate": 90.0 * quarters}), np.rot90(square, quarters))
    np.testing.assert_array_equal(transform(square, {"flip": True}), square[:, ::-1])
    np.testing.assert_array_equal(transform(square, {"vertical_flip": True}), square[::-1])


@given(st.floats(-0.5, 0.5), st.floats(-0.9, 0.9), st.floats(0.3, 3))
def test_tones_are_the_formula(brightness: float, contrast: float, gamma: float) -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    found = transform(ramp, {"brightness": brightness, "contrast": contrast, "gamma": gamma}).astype(float)
    linear = np.clip((ramp - 127.5) * (1 + contrast) + 127.5 + 255 * brightness, 0, 255)
    assert np.abs(found - 255 * (linear / 255) ** gamma).max() <= 0.5 + 1e-9
    np.testing.assert_array_equal(transform(ramp, {"gamma": gamma}), np.rint(255 * (ramp / 255) ** gamma))


@settings(deadline=None)
@given(arrays(np.uint8, (2, 5, 3)), st.floats(-180, 180), st.floats(-1, 1))
def test_hue_and_saturation_are_those_of_colorsys(pixels: Pixels, hue: float, saturation: float) -> None:
    found = transform(pixels, {"hue": hue, "saturation": saturation})
    for pixel, colour in zip(pixels.reshape(-1, 3), found.reshape(-1, 3), strict=True):
        h, s, v = colorsys.rgb_to_hsv(*(pixel / 255))
        expected = colorsys.hsv_to_rgb((h + hue / 360) % 1, min(s * (1 + saturation), 1), v)
        assert np.abs(np.array(expected) * 255 - colour).max() <= 0.51


def test_grey_images_have_no_hue() -> None:
    np.testing.assert_array_equal(transform(photo(1, channels=1), {"hue": 90, "saturation": 1}), photo(1, channels=1))


@pytest.mark.parametrize("sigma", [0.3, 1, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_blur_is_scipys_gaussian(sigma: float, channels: int) -> None:
    pixels = photo(2, 50, 70, channels)
    expected = ndimage.gaussian_filter(pixels.astype(float), (sigma, sigma, 0), mode="mirror", truncate=3)
    assert np.abs(transform(pixels, {"blur": sigma}) - expected).max() <= 1.5


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.sampled_from([(28, 28), (20, 50)]))
def test_the_cutout_is_one_square_of_the_mean(x: float, y: float, side: float, size: tuple[int, int]) -> None:
    pixels = np.zeros((*size, 1), np.uint8)
    pixels[::2] = 200
    found = transform(pixels, {"cutout": [x, y, side]})[:, :, 0]
    rows, columns = np.nonzero(found == 100)
    expected = round(side * min(size))
    assert len(rows) == expected**2 == (np.ptp(rows) + 1) * (np.ptp(columns) + 1) if expected else not len(rows)
    assert (np.delete(found, np.unique(rows), axis=0) == np.delete(pixels[:, :, 0], np.unique(rows), axis=0)).all()


@pytest.mark.parametrize("share", [0.0005, 0.02, 0.5, 1])
def test_salt_and_pepper_are_the_share_in_halves_and_whole_pixels(share: float) -> None:
    grey = np.full((512, 512, 3), 128, np.uint8)
    found = transform(grey, {"salt_pepper": share, "noise_seed": 5})
    assert (np.ptp(found, axis=2) == 0).all()
    error = 4 * math.sqrt(share / 2 / 512**2)
    for level in (0, 255):
        assert (found == level).mean() == pytest.approx(share / 2, abs=error)
    assert (found == 128).mean() == pytest.approx(1 - share, abs=2 * error)


@pytest.mark.parametrize("quality", [10, 60, 100])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_artefacts_are_pillows(quality: int, channels: int) -> None:
    pixels = photo(2, 30, 41, channels)
    expected = decode(saved(pixels, "jpeg", quality=quality)).pixels_HWC
    np.testing.assert_array_equal(transform(pixels, {"jpeg": quality}), expected)


def test_the_order_of_steps_is_the_promised_one() -> None:
    """Fused or one after the other: pixels moved, tones, colour, blur, cutout, noise, salt and pepper, JPEG last."""
    groups = (geometry.STEPS | {"border"}, {"brightness", "contrast", "gamma"}, {"hue", "saturation"}, {"blur"},
              {"cutout"}, {"noise", "noise_seed"}, {"salt_pepper", "noise_seed"}, {"jpeg"})  # fmt: skip
    for param in plan(ALL, 7, [keys.row_id(str(index)) for index in range(5)], 0):
        stepwise = photo(8)
        for group in groups:
            stepwise = transform(stepwise, {name: value for name, value in param.items() if name in group})
        np.testing.assert_array_equal(transform(photo(8), param), stepwise)


@given(st.floats(0, 1), st.sampled_from([1, 3]))
def test_mixup_is_the_weighted_sum(own: float, channels: int) -> None:
    left, right = photo(1, 9, 7, channels), photo(2, 9, 7, channels)
    media, _ = apply(encode(left), {"mix": mix.mixup(own)}, (), (encode(right), ()))
    assert np.abs(decode(media).pixels_HWC - (own * left + (1 - own) * right)).max() <= 0.5 + 1e-6


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_cutmix_pastes_a_rectangle_and_knows_its_share(own: float, x: float, y: float) -> None:
    left, right = np.zeros((30, 41, 1), np.uint8), np.full((30, 41, 1), 255, np.uint8)
    how = mix.cutmix(own, x, y)
    media, _ = apply(encode(left), {"mix": how}, (), (encode(right), ()))
    found = decode(media).pixels_HWC[:, :, 0]
    assert (found == 0).mean() == pytest.approx(mix.share(how, 30, 41))
    assert how["share"] == pytest.approx(mix.share(how, 30, 41), abs=0.05)
    assert how["share"] >= own - 1e-5  # the border may cut the rectangle off
    rows, columns = np.nonzero(found)
    assert not len(rows) or len(rows) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)


def test_mixed_objects_are_of_both() -> None:
    pixels = encode(photo(1, 40, 40))
    mine: Object = {"label": "mine", "x": 0, "y": 0, "width": 10, "height": 10}
    theirs: Object = {"label": "theirs", "x": 20, "y": 0, "width": 20, "height": 40}
    half = {"how": "cutmix", "share": 0.75, "x": 0.5, "y": 0.5, "width": 0.5, "height": 0.5}
    assert apply(pixels, {"mix": mix.mixup(0.5)}, [mine], (pixels, [theirs]))[1] == [mine, theirs]
    assert apply(pixels, {"mix": half}, [mine], (pixels, [theirs]))[1] == [mine, theirs | {"y": 20, "height": 20}]
    assert apply(pixels, {"mix": half | {"x": 0, "y": 0}}, [mine], (pixels, [theirs]))[1] == []


def test_a_mixed_row_needs_a_partner_of_its_form() -> None:
    param = {"mix": mix.mixup(0.5)}
    with pytest.raises(ValueError, match="needs a partner"):
        apply(encode(photo(1, 8, 8)), param)
    for other in (photo(1, 8, 9), photo(1, 8, 8, 1)):
        with pytest.raises(ValueError, match="one size and mode"):
            apply(encode(photo(1, 8, 8)), param, (), (encode(other), ()))


@pytest.mark.parametrize(
    ("field", "value"),
    [("scale", (1.2, 0.9)), ("scale", (0, 1)), ("gamma", (-1, 1)), ("crop", (0.5, 1.2)), ("crop", (0.9, 0.5)),
     ("jpeg", (0, 50)), ("jpeg", (50, 101)), ("perspective", 0.3), ("hue", 181), ("border", "wrap"), ("cutout", 2)],
)  # fmt: skip
def test_a_spec_out_of_range_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=field):
        Augment.model_validate({field: value})


def test_a_row_is_mixed_once() -> None:
    with pytest.raises(ValidationError, match="more than 1"):
        Augment(mixup=0.6, cutmix=0.5)


@pytest.mark.parametrize("sigma", [0.01, 0.03, 0.2])
def test_noise_is_gaussian_of_the_asked_strength(sigma: float) -> None:
    levels = noise.gaussian_levels((512, 512), sigma, 11).ravel() / (255 * sigma)
    assert abs(levels.mean()) < 0.01
    rounding = (1 / (255 * sigma)) ** 2 / 12
    assert levels.std() == pytest.approx(math.sqrt(1 + rounding), rel=0.01)
    assert abs(stats.skew(levels)) < 0.02 and abs(stats.kurtosis(levels)) < 0.05
    assert abs(np.corrcoef(levels[:-1], levels[1:])[0, 1]) < 0.01


def test_noise_saturates_and_does_not_wrap() -> None:
    for level in (0, 255):
        flat = np.full((64, 64, 1), level, np.uint8)
        assert np.abs(transform(flat, {"noise": 0.05, "noise_seed": 3}).astype(int) - level).max() < 100


@pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_copy_has_the_format_and_size_of_its_parent(name: str, channels: int) -> None:
    parent, partner = (encode(photo(seed, 28, 36, channels), name) for seed in (5, 6))
    for param in plan(ALL, 7, [keys.row_id(str(index)) for index in range(9)], 0):
        copy, _ = apply(parent, param, (), (partner, ()))
        assert copy != parent
        assert (decode(copy).format, decode(copy).pixels_HWC.shape) == (name, decode(parent).pixels_HWC.shape)
        assert apply(parent, json.loads(json.dumps(param)), (), (partner, ())) == (copy, [])


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 3]))
def test_tiny_images_have_copies_too(height: int, width: int, channels: int) -> None:
    tiny = encode(photo(6, height, width, channels))
    for param in plan(ALL, 7, [keys.row_id(str(index)) for index in range(4)], 0):
        copy, _ = apply(tiny, param, (), (tiny, ()))
        assert decode(copy).pixels_HWC.shape == (height, width, channels)


def test_copies_are_the_same_bytes_in_another_process() -> None:
    script = (
        "import hashlib; from dsray import keys; from dsray.kinds.image import apply, encode, plan;"
        "from tests.dsray.kinds.image.pictures import photo; from tests.dsray.kinds.image.test_augment import ALL;"
        "other = (encode(photo(99, 28, 28)), ()); plans = plan(ALL, 7, [keys.row_id(str(i)) for i in range(20)], 0);"
        "made = [apply(encode(photo(i, 28, 28)), p, (), other)[0] for i, p in enumerate(plans)];"
        "print(hashlib.sha256(b''.join(made)).hexdigest())"
    )
    assert len(printed_by_two_processes(script)) == 1


def test_noise_is_pinned() -> None:
    """Bytes of released samples hang on it: a change must bump the stage's version."""
    found: Pixels = transform(np.full((2, 4, 1), 128, np.uint8), {"noise": 0.1, "noise_seed": 1234567890123})
    assert found.ravel().tolist() == [151, 108, 151, 80, 130, 77, 136, 136]
