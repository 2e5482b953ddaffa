"""Boxes, polygons and masks against the pixels that they stand for: drawn, warped, and found again."""

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dsray import keys
from dsray.kinds.image import mix
from dsray.kinds.image.augment import plan, transform, transform_mask, transform_objects
from dsray.kinds.image.codec import Pixels
from dsray.kinds.image.objects import Object, area, cover, move, outline, within

HEIGHT, WIDTH = 96, 128
BOX = ("x", "y", "width", "height")
SPECS: dict[str, dict[str, Any]] = {
    "rotate": {"rotate": 180},
    "scale": {"scale": [0.5, 2]},
    "translate": {"translate": 0.4},
    "shear": {"shear": 40},
    "flip": {"flip": True},
    "vertical_flip": {"vertical_flip": True},
    "crop": {"crop": [0.2, 0.9]},
    "perspective": {"perspective": 0.2},
}
SPECS["all"] = {"rotate": 180, "scale": [0.8, 1.4], "translate": 0.1, "shear": 15, "flip": True,
                "vertical_flip": True, "crop": [0.6, 1], "perspective": 0.1}  # fmt: skip


def box(x: float, y: float, width: float, height: float, label: str = "thing") -> Object:
    return {"label": label, "x": x, "y": y, "width": width, "height": height}


def of_polygon(points: list[float]) -> Object:
    x, y = points[::2], points[1::2]
    return box(min(x), min(y), max(x) - min(x), max(y) - min(y)) | {"polygon": points}  # type: ignore[return-value]


def planned(spec: dict[str, Any], number: int) -> dict[str, Any]:
    return plan({"border": "black"} | spec, number, [keys.row_id("row")], 0)[0]


def drawn(points: np.ndarray) -> Pixels:
    """A white polygon on black, each pixel by the share of it that is covered, [H, W, 1]."""
    fine = 16
    canvas = np.zeros((HEIGHT * fine, WIDTH * fine), np.uint8)
    cv2.fillPoly(canvas, [np.rint(points * fine - 0.5).astype(np.int32)], 255)
    return cv2.resize(canvas, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)[:, :, None]


def found(pixels: np.ndarray) -> np.ndarray:
    """[left, top, right, bottom] of what is above half level, interpolated between the centres of pixels."""
    level_HW = pixels.reshape(HEIGHT, WIDTH) / 255
    across, down = level_HW.max(axis=0), level_HW.max(axis=1)
    return np.array([first(across), first(down), WIDTH - first(across[::-1]), HEIGHT - first(down[::-1])])


def first(levels: np.ndarray) -> float:
    """Where a profile first goes through one half; 0 when it begins above."""
    index = int((levels > 0.5).argmax())
    assert levels[index] > 0.5
    return 0 if not index else index + 0.5 - (levels[index] - 0.5) / (levels[index] - levels[index - 1])


def assert_same_box(moved: list[Object], pixels: np.ndarray, limit: float = 1) -> None:
    """Within one pixel on every side."""
    (thing,) = moved
    sides = (thing["x"], thing["y"], thing["x"] + thing["width"], thing["y"] + thing["height"])
    assert np.abs(np.array(sides) - found(pixels)).max() <= limit, (sides, found(pixels))


rectangles = st.tuples(st.integers(20, 70), st.integers(16, 50), st.integers(16, 40), st.integers(16, 30))
numbers = st.integers(0, 2**63 - 1)


@pytest.mark.parametrize("name", SPECS)
@settings(deadline=None, max_examples=80)
@given(rectangles, numbers)
def test_a_moved_box_is_the_box_of_the_moved_pixels(name: str, rectangle: tuple[int, ...], number: int) -> None:
    params, thing = planned(SPECS[name], number), box(*rectangle)
    moved = transform_objects([thing], params, HEIGHT, WIDTH)
    assume(moved and blunt(moved[0], [thing], params))
    assert_same_box(moved, transform(drawn(outline(thing)), params))


@pytest.mark.parametrize("name", SPECS)
@settings(deadline=None, max_examples=80)
@given(rectangles, st.floats(0, 3.2), numbers)
def test_a_moved_polygon_is_the_polygon_of_the_moved_pixels(
    name: str, rectangle: tuple[int, ...], angle: float, number: int
) -> None:
    """A turned rectangle: all its moved pixels lie within the moved polygon's box, and the mask's with them."""
    x, y, width, height = rectangle
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    corners = (np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [width / 2, height / 2]) @ turn
    thing = of_polygon((corners + np.array([x + width / 2, y + height / 2])).ravel().tolist())
    params = planned(SPECS[name], number)
    moved = transform_objects([thing], params, HEIGHT, WIDTH)
    assume(moved and blunt(moved[0], [thing], params))
    points = outline(moved[0])
    bounds = box(*points.min(axis=0), *np.ptp(points, axis=0))
    np.testing.assert_allclose(outline(bounds), outline(box(*(moved[0][key] for key in BOX))), atol=2e-6)
    pixels = drawn(outline(thing))
    warped = transform(pixels, params)
    assert_same_box(moved, warped, limit=1.25)  # a corner that points sideways fades before its tip
    mask = transform_mask((pixels[:, :, 0] > 127).astype(np.uint8), params)
    bright, around = (warped[:, :, 0] > 127).astype(np.uint8), np.ones((5, 5))
    assert (cv2.erode(mask, around, borderType=cv2.BORDER_CONSTANT, borderValue=0) <= bright).all() and (
        bright <= cv2.dilate(mask, around)
    ).all()


def blunt(moved: Object, things: list[Object], params: dict[str, Any]) -> bool:
    """Whether no corner is so sharp that pixels above half level end more than a pixel before it."""
    points = outline(moved) if moved.get("polygon") else outline(polygonal(things, params))
    ahead, behind = np.roll(points, -1, axis=0) - points, np.roll(points, 1, axis=0) - points
    lengths = np.linalg.norm(ahead, axis=1), np.linalg.norm(behind, axis=1)
    if min(lengths[0].min(), lengths[1].min()) < 3:
        return False
    cosines = np.sum(ahead * behind, axis=1) / (lengths[0] * lengths[1])
    return bool(cosines.max() < np.cos(np.deg2rad(60)))


def polygonal(things: list[Object], params: dict[str, Any]) -> Object:
    """The first thing's outline, moved as a polygon."""
    return transform_objects([of_polygon(outline(things[0]).ravel().tolist())], params, HEIGHT, WIDTH)[0]


@settings(deadline=None)
@given(rectangles, numbers)
def test_a_box_stays_as_long_as_a_tenth_of_its_pixels_does(rectangle: tuple[int, ...], number: int) -> None:
    params = planned({"rotate": 90, "scale": [0.7, 1.5], "translate": 0.7}, number)
    moved = transform_objects([box(*rectangle)], params, HEIGHT, WIDTH)
    light = transform(drawn(outline(box(*rectangle))), params).sum() / 255
    share = light / (rectangle[2] * rectangle[3] * params["scale"] ** 2)
    assert share > 0.08 if moved else share < 0.12


def test_what_lies_beyond_the_horizon_does_not_come_back() -> None:
    horizon = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0.02, 1]])  # y → y / (1 + y / 50): y = -50 is infinitely far away
    assert not move([box(10, -90, 20, 20)], horizon, WIDTH, HEIGHT)
    (across,) = move([box(10, -90, 20, 110)], horizon, WIDTH, HEIGHT)
    assert across["y"] == 0 and across["height"] == pytest.approx(20 / 1.4)


@given(rectangles)
def test_labels_and_all_else_stay_with_their_object(rectangle: tuple[int, ...]) -> None:
    thing = box(*rectangle) | {"label": None, "score": 0.5}  # type: ignore[operator]
    (moved,) = move([thing], np.eye(3), WIDTH, HEIGHT)
    assert moved == thing


def test_no_transform_leaves_objects_as_they_are() -> None:
    things = [box(-5, 3, 900, 2), of_polygon([1.23456789, 2, 8, 2, 5, 9])]
    assert transform_objects(things, {"brightness": 0.5, "noise": 0.1, "noise_seed": 1}, HEIGHT, WIDTH) == things


def test_tiny_and_empty_things_are_dropped() -> None:
    nothing = [box(5, 5, 0, 9), box(5, 5, 0.9, 0.9), of_polygon([1, 1, 9, 9, 5, 5])]
    assert move(nothing, np.eye(3), WIDTH, HEIGHT) == []


def test_area_is_the_shoelaces() -> None:
    assert area(outline(box(3, 4, 5, 6))) == 30
    assert area(np.array([[0, 0], [4, 0], [0, 3]], float)) == 6


@given(rectangles, rectangles)
def test_cover_and_within_agree_with_painted_pixels(thing: tuple[int, ...], cut: tuple[int, ...]) -> None:
    """Independently: paint the object, paint the rectangle over it, and look at what is left."""
    x, y, width, height = thing
    canvas = np.zeros((HEIGHT, WIDTH), np.uint8)
    canvas[y : y + height, x : x + width] = 255
    window = np.zeros_like(canvas)
    window[cut[1] : cut[1] + cut[3], cut[0] : cut[0] + cut[2]] = 1
    for left, seen in (
        (cover([box(*thing)], *cut), canvas * (1 - window)),
        (within([box(*thing)], *cut), canvas * window),
    ):
        if (seen > 0).sum() < 0.1 * width * height:
            assert left == []
        else:
            sides = [left[0]["x"], left[0]["y"], left[0]["x"] + left[0]["width"], left[0]["y"] + left[0]["height"]]
            np.testing.assert_allclose(sides, found(seen), atol=1e-6)


def test_a_covered_polygon_is_cut_with_its_box() -> None:
    (left,) = cover([of_polygon([0, 0, 20, 0, 20, 20, 0, 20])], 0, 0, 10, 20)
    assert (left["x"], left["width"], area(outline(left))) == (10, 10, 200)
    assert cover([of_polygon([0, 0, 20, 0, 0, 20])], 0, 0, 18, 18) == []


def test_the_cutout_hides_objects() -> None:
    params = {"cutout": [0.0, 0.0, 0.5]}
    assert transform_objects([box(5, 5, 20, 20)], params, HEIGHT, WIDTH) == []
    assert transform_objects([box(60, 60, 20, 20)], params, HEIGHT, WIDTH) == [box(60, 60, 20, 20)]


def test_masks_keep_their_classes_and_their_type() -> None:
    mask = np.random.default_rng(1).integers(0, 5, (HEIGHT, WIDTH))
    for kind in (np.uint8, np.int16, np.int32):
        for spec in SPECS.values():
            moved = transform_mask(mask.astype(kind), planned(spec, 3))
            assert moved.dtype == kind and moved.shape == mask.shape and set(np.unique(moved)) <= set(range(5))
    np.testing.assert_array_equal(transform_mask(mask.astype(np.uint8), {"flip": True}), mask[:, ::-1])
    assert (transform_mask(np.ones((HEIGHT, WIDTH), np.uint8), {"shift_x": 0.5}) == ([0] * 64 + [1] * 64)).all()


def test_cutmix_takes_the_partners_mask() -> None:
    how = mix.cutmix(0.5, 0.5, 0.5)
    own, other = np.ones((HEIGHT, WIDTH), np.uint8), np.full((HEIGHT, WIDTH), 2, np.uint8)
    mixed = transform_mask(own, {"mix": how}, other)
    assert (mixed == 2).mean() == pytest.approx(1 - mix.share(how, HEIGHT, WIDTH))
    np.testing.assert_array_equal(transform_mask(own, {"mix": mix.mixup(0.5)}, other), own)
