import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from dsray import keys
from dsray.kinds.image import augment
from dsray.kinds.image.augment import apply, matrix, plan, transform
from dsray.kinds.image.codec import Pixels, decode, encode
from tests.dsray.kinds.image.pictures import photo, printed_by_two_processes

SPEC = {"rotate": 12, "scale": [0.9, 1.1], "translate": 0.08, "shear": 5, "flip": True}
SPEC |= {"brightness": 0.1, "contrast": 0.2, "noise": 0.03}
STILL = plan({}, 0, [keys.row_id("still")], 0)[0]
"""The parameters that change nothing."""

IDS = st.lists(st.text(max_size=5).map(keys.row_id), max_size=20)
COPIES = st.integers(0, 5)


def params(**changed: Any) -> dict[str, Any]:
    return STILL | changed


@given(IDS, IDS, st.integers(0, 2**63 - 1), COPIES)
def test_a_batch_equals_its_halves(left: list[str], right: list[str], seed: int, copy: int) -> None:
    assert plan(SPEC, seed, left + right, copy) == plan(SPEC, seed, left, copy) + plan(SPEC, seed, right, copy)


@given(IDS, COPIES)
def test_parameters_survive_json_exactly_in_any_language(ids: list[str], copy: int) -> None:
    for param in plan(SPEC, 7, ids, copy):
        assert json.loads(json.dumps(param)) == param
        assert 0 <= param["noise_seed"] < 2**53
        assert all(value == round(value, 6) for value in param.values())


def test_parameters_fill_their_ranges_evenly_and_independently() -> None:
    planned = plan(SPEC, 7, [keys.row_id(str(index)) for index in range(4000)], 1)
    bounds = {"rotate": (-12, 12), "scale": (0.9, 1.1), "shift_x": (-0.08, 0.08), "shift_y": (-0.08, 0.08)}
    bounds |= {"shear": (-5, 5), "brightness": (-0.1, 0.1), "contrast": (-0.2, 0.2)}
    column = {name: np.array([param[name] for param in planned]) for name in bounds}
    for name, (low, high) in bounds.items():
        assert low <= column[name].min() and column[name].max() <= high
        assert stats.kstest((column[name] - low) / (high - low), "uniform").pvalue > 1e-4, name
    correlation = np.corrcoef(np.stack(list(column.values())))
    assert np.abs(correlation - np.eye(len(bounds))).max() < 0.07
    assert 0.45 < np.mean([param["flip"] for param in planned]) < 0.55


def test_seeds_rows_and_copies_all_change_the_transform() -> None:
    ids = [keys.row_id("a"), keys.row_id("b")]
    planned = [*plan(SPEC, 1, ids, 0), *plan(SPEC, 1, ids, 1), *plan(SPEC, 2, ids, 0)]
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
    found = transform(pixels, params(**affine))[:, :, 0]
    assert np.abs(found - expected).max() < 3  # OpenCV may round positions to 1/32 of a pixel
    assert np.abs(found - expected).mean() < 0.6


@given(AFFINE, st.sampled_from([(28, 28), (40, 56)]))
def test_the_centre_moves_by_the_shift_alone(affine: dict[str, Any], size: tuple[int, int]) -> None:
    height, width = size
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    moved = matrix(params(**affine), height, width) @ [*centre, 1]
    np.testing.assert_allclose(moved - centre, [affine["shift_x"] * width, affine["shift_y"] * height], atol=1e-9)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarter_turns_and_mirrors_are_numpys(quarters: int) -> None:
    square = photo(4, 32, 32)
    np.testing.assert_array_equal(transform(square, params(rotate=90.0 * quarters)), np.rot90(square, quarters))
    np.testing.assert_array_equal(transform(square, params(flip=True)), square[:, ::-1])


@given(st.floats(-0.5, 0.5), st.floats(-0.9, 0.9))
def test_tones_are_the_formula(brightness: float, contrast: float) -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    found = transform(ramp, params(brightness=brightness, contrast=contrast)).astype(float)
    exact = np.clip((ramp - 127.5) * (1 + contrast) + 127.5 + 255 * brightness, 0, 255)
    assert np.abs(found - exact).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("sigma", [0.01, 0.03, 0.2])
def test_noise_is_gaussian_of_the_asked_strength(sigma: float) -> None:
    noise = augment._noise((512, 512), sigma, 11).ravel() / (255 * sigma)
    assert abs(noise.mean()) < 0.01
    rounding = (1 / (255 * sigma)) ** 2 / 12
    assert noise.std() == pytest.approx(math.sqrt(1 + rounding), rel=0.01)
    assert abs(stats.skew(noise)) < 0.02 and abs(stats.kurtosis(noise)) < 0.05
    assert abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]) < 0.01


def test_noise_saturates_and_does_not_wrap() -> None:
    for level in (0, 255):
        flat = np.full((64, 64, 1), level, np.uint8)
        assert np.abs(transform(flat, params(noise=0.05)).astype(int) - level).max() < 100


@pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_copy_has_the_format_and_size_of_its_parent(name: str, channels: int) -> None:
    parent = encode(photo(5, 28, 36, channels), name)
    for param in plan(SPEC, 7, [keys.row_id(str(index)) for index in range(5)], 0):
        copy, _ = apply(parent, param)
        assert copy != parent
        assert (decode(copy).format, decode(copy).pixels_HWC.shape) == (name, decode(parent).pixels_HWC.shape)
        assert apply(parent, json.loads(json.dumps(param)))[0] == copy


@given(st.integers(1, 6), st.integers(1, 6))
def test_tiny_images_have_copies_too(height: int, width: int) -> None:
    for param in plan(SPEC, 7, [keys.row_id("a"), keys.row_id("b")], 0):
        assert decode(apply(encode(photo(6, height, width)), param)[0]).pixels_HWC.shape == (height, width, 3)


def test_copies_are_the_same_bytes_in_another_process() -> None:
    script = (
        "import hashlib; from dsray import keys; from dsray.kinds.image import apply, encode, plan;"
        "from tests.dsray.kinds.image.pictures import photo; from tests.dsray.kinds.image.test_augment import SPEC;"
        "planned = plan(SPEC, 7, [keys.row_id('x')] * 20, 0);"
        "made = [apply(encode(photo(i, 28, 28)), p)[0] for i, p in enumerate(planned)];"
        "print(hashlib.sha256(b''.join(made)).hexdigest())"
    )
    assert len(printed_by_two_processes(script)) == 1


def test_noise_is_pinned() -> None:
    """Bytes of released samples hang on it: a change must bump the stage's version."""
    found: Pixels = transform(np.full((2, 4, 1), 128, np.uint8), params(noise=0.1, noise_seed=1234567890123))
    assert found.ravel().tolist() == [120, 109, 64, 156, 109, 79, 119, 111]
