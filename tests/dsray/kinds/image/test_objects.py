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


def assert_same_box(moved: list[Object], pixels: np.ndarray) -> None:
    """Within one pixel on every side."""
    (thing,) = moved
    sides = (thing["x"], thing["y"], thing["x"] + thing["width"], thing["y"] + thing["height"])
    assert np.abs(np.array(sides) - found(pixels)).max() <= 1, (sides, found(pixels))


rectangles = st.tuples(st.integers(20, 70), st.integers(16, 50), st.integers(16, 40), st.integers(16, 30))
numbers = st.integers(0, 2**63 - 1)


@pytest.mark.parametrize("name", SPECS)
@settings(deadline=None, max_examples=40)
@given(rectangles, numbers)
def test_a_moved_box_is_the_box_of_the_moved_pixels(name: str, rectangle: tuple[int, ...], number: int) -> None:
    params, thing = planned(SPECS[name], number), box(*rectangle)
    moved = transform_objects([thing], params, HEIGHT, WIDTH)
    assume(moved and blunt(moved[0], [thing], params))
    assert_same_box(moved, transform(drawn(outline(thing)), params))


@pytest.mark.parametrize("name", SPECS)
@settings(deadline=None, max_examples=40)
@given(rectangles, st.floats(0, 3.2), numbers)
def test_a_moved_polygon_is_the_polygon_of_the_moved_pixels(
    name: str, rectangle: tuple[int, ...], angle: float, number: int
) -> None:
    """A turned rectangle: all its moved pixels lie within the moved polygon's box, and the mask's with them."""
    x, y, width, height = rectangle
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    corners = (np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [width / 2, height / 2]) @ turn
    thing = of_polygon((corners + [x + width / 2, y + height / 2]).ravel().tolist())
    params = planned(SPECS[name], number)
    moved = transform_objects([thing], params, HEIGHT, WIDTH)
    assume(moved and blunt(moved[0], [thing], params))
    points = outline(moved[0])
    np.testing.assert_allclose([*points.min(axis=0), *np.ptp(points, axis=0)],
                               [moved[0]["x"], moved[0]["y"], moved[0]["width"], moved[0]["height"]], atol=2e-6)  # fmt: skip
    pixels = drawn(outline(thing))
    assert_same_box(moved, transform(pixels, params))
    warped = transform(pixels, params)
    assert_same_box(moved, warped)
    mask = transform_mask((pixels[:, :, 0] > 127).astype(np.uint8), params)
    bright, around = (warped[:, :, 0] > 127).astype(np.uint8), np.ones((5, 5))
    assert (cv2.erode(mask, around) <= bright).all() and (bright <= cv2.dilate(mask, around)).all()


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
