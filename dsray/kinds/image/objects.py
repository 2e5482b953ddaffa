"""Boxes and polygons that move with the pixels.

Coordinates are continuous: x to the right, y down, pixel i covers [i, i + 1). A homography H [3, 3] maps source to
target; P points of an outline.
"""

from collections.abc import Sequence
from typing import NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

LEAST_SHARE = 0.1
"""An object with less of its area in sight is dropped."""

LEAST_AREA = 1.0
"""Square pixels; what is smaller cannot be seen."""

_DIGITS = 6


class Object(TypedDict):
    """One labelled thing. `polygon`: x0, y0, x1, y1, ...; then the box is its bounds."""

    label: str | None
    x: float
    y: float
    width: float
    height: float
    polygon: NotRequired[list[float] | None]


def move(objects: Sequence[Object], homography: Matrix, width: int, height: int) -> list[Object]:
    """What is still in sight on a target of that size, clipped to it; a box becomes the bounds of its moved corners."""
    corner, far = np.array([0.0, 0.0]), np.array([float(width), float(height)])
    return [moved for thing in objects if (moved := _moved(thing, homography, corner, far))]


def cover(objects: Sequence[Object], x: float, y: float, width: float, height: float) -> list[Object]:
    """What is left of the objects under an opaque rectangle: shrunk where it hides a whole side, dropped under it."""
    found = []
    for thing in objects:
        low, high = _bounds(outline(thing))
        over = np.clip([[x, y], [x + width, y + height]], low, high)  # the rectangle within the bounds
        hidden = area(_clip(outline(thing), over[0], over[1]))
        if hidden > (1 - LEAST_SHARE) * area(outline(thing)):
            continue
        for axis in (0, 1):
            if (over[:, 1 - axis] == [low[1 - axis], high[1 - axis]]).all() and hidden:
                if over[0, axis] == low[axis]:
                    low[axis] = over[1, axis]
                elif over[1, axis] == high[axis]:
                    high[axis] = over[0, axis]
        left = _moved(thing, np.eye(3), low, high) if hidden else thing
        found += [left] if left else []
    return found


def within(objects: Sequence[Object], x: float, y: float, width: float, height: float) -> list[Object]:
    """What is in sight through a window; coordinates stay those of the whole."""
    low, high = np.array([x, y]), np.array([x + width, y + height])
    return [kept for thing in objects if (kept := _moved(thing, np.eye(3), low, high))]


def outline(thing: Object) -> Matrix:
    """[P, 2] its polygon, or the corners of its box."""
    if polygon := thing.get("polygon"):
        return np.array(polygon, float).reshape(-1, 2)
    left, top, right, bottom = thing["x"], thing["y"], thing["x"] + thing["width"], thing["y"] + thing["height"]
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)


def area(points_P2: Matrix) -> float:
    """Of a simple polygon, by the shoelace formula."""
    x, y = points_P2.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def _moved(thing: Object, homography: Matrix, low: Matrix, high: Matrix) -> Object | None:
    """The object within [low, high] of the target. What share is in sight is judged in the source: there it is finite.

    Clipped before the division, so that what lies beyond the horizon of a perspective does not come back mirrored.
    """
    source_P2 = outline(thing)
    seen_P2 = _clip(source_P2, low, high, homography)
    if area(seen_P2) < LEAST_AREA:
        return None
    if area(_divided(_lifted(seen_P2) @ np.linalg.inv(homography).T)) < LEAST_SHARE * area(source_P2):
        return None
    first, last = _bounds(seen_P2)
    x, y, width, height = (round(float(value), _DIGITS) for value in (*first, *(last - first)))
    moved: Object = {**thing, "x": x, "y": y, "width": width, "height": height}
    if thing.get("polygon"):
        moved["polygon"] = [round(float(value), _DIGITS) for value in seen_P2.ravel()]
    return moved


def _clip(points_P2: Matrix, low: Matrix, high: Matrix, homography: Matrix | None = None) -> Matrix:
    """[P, 2] mapped, then cut by the four sides (Sutherland and Hodgman 1974), in homogeneous coordinates."""
    points_P3 = _lifted(points_P2) if homography is None else _lifted(points_P2) @ homography.T
    sides = [(1, 0, -low[0]), (0, 1, -low[1]), (-1, 0, high[0]), (0, -1, high[1])]
    for side in np.array(sides, float):
        inside_P = points_P3 @ side
        if (inside_P >= 0).all():
            continue
        kept = []
        ends = zip(np.roll(points_P3, -1, axis=0), np.roll(inside_P, -1), strict=True)
        for point, depth, (other, beyond) in zip(points_P3, inside_P, ends, strict=True):
            if depth >= 0:
                kept.append(point)
            if (depth >= 0) != (beyond >= 0):
                kept.append(point + (other - point) * (depth / (depth - beyond)))
        points_P3 = np.array(kept).reshape(-1, 3)
    return _divided(points_P3)


def _lifted(points_P2: Matrix) -> Matrix:
    return np.column_stack([points_P2, np.ones(len(points_P2))])


def _divided(points_P3: Matrix) -> Matrix:
    return points_P3[:, :2] / points_P3[:, 2:]


def _bounds(points_P2: Matrix) -> tuple[Matrix, Matrix]:
    return points_P2.min(axis=0), points_P2.max(axis=0)
