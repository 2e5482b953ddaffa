"""An image → the recipe's one canonical form: one size, mode and format; boxes and polygons follow the pixels."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from PIL import Image
from pydantic import Field, model_validator

from dsray.collection import Model
from dsray.kinds import Frame, Touch, Undecodable
from dsray.kinds.image.codec import Decoded, decode, encode, encode_image, pixels_of
from dsray.kinds.image.entropy import offset
from dsray.kinds.image.objects import Object, move

_FILTERS = {
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
"""All antialiased: shrinking looks at every pixel."""

Side = Annotated[int, Field(ge=4, le=4096)]


class Render(Model):
    """The one form that all samples get."""

    side: Side | None = Field(64, description="Pixels of both sides.")
    size: tuple[Side, Side] | None = Field(None, description="Width and height in pixels, instead of `side`.")
    mode: Literal["L", "RGB"] = Field("RGB", description="Grey or colour.")
    format: Literal["png", "jpeg", "webp"] = Field("png", description="Encoding; png is lossless.")
    quality: int = Field(95, ge=1, le=100, description="Of jpeg and webp; colour keeps its full resolution in jpeg.")
    fit: Literal["pad", "crop", "stretch", "inside"] = Field(
        "pad", description="How another aspect fits: bars, cut off, distorted, or kept with the longer side fitting."
    )
    anchor: Literal["centre", "entropy"] = Field(
        "centre", description="What a crop keeps: the middle, or the window with the most information."
    )
    filter: Literal["box", "bilinear", "bicubic", "lanczos"] = Field(
        "bicubic", description="How pixels are weighed, antialiased as Pillow does it: sharper and slower to the right."
    )
    fill: int = Field(0, ge=0, le=255, description="Grey level of the bars.")

    @model_validator(mode="before")
    @classmethod
    def _size_instead_of_side(cls, data: Any) -> Any:
        return {"side": None} | data if isinstance(data, dict) and data.get("size") is not None else data

    @model_validator(mode="after")
    def _one_size(self) -> "Render":
        if (self.side is None) == (self.size is None):
            raise ValueError("needs either `side` or `size`")
        return self


def extension(spec: dict[str, Any]) -> str:
    """The ending of a rendered image's file name."""
    return str(spec["format"])


def render(decoded: Decoded, spec: dict[str, Any], own: Sequence[Touch] = ()) -> tuple[bytes, Frame]:
    """An image → (its canonical bytes, where they come from: see `place`). `spec`: the fields of Render; the steps of
    `own` get the canonical pixels [H, W, C].

    Shrinking is antialiased, as Pillow does it; an image of that form keeps its pixels.
    """
    layout, how = _layout(decoded, spec), (spec["format"], spec.get("quality", 95))
    same = decoded.colour == spec["mode"] and layout == Layout(decoded.size, _whole(decoded), (0, 0, *decoded.size))
    if same or own:  # as it was: the facts needed its pixels too
        pixels_HWC = decoded.pixels_HWC if same else pixels_of(_drawn(decoded, layout, spec))
        for step in own:
            pixels_HWC = step(pixels_HWC)
        media = encode(pixels_HWC, *how)
    else:
        media = encode_image(_drawn(decoded, layout, spec), *how)
    return media, [float(number) for part in layout for number in part]


def place(objects: Sequence[Object], frame: Frame) -> list[Object]:
    """Objects in pixels of an upright image → in pixels of its canonical form, whose `frame` render gave. One with less
    than a tenth of its area in sight is dropped."""
    width, height, left, top, right, bottom, *inner = frame
    x, y, across, down = (int(number) for number in inner)
    layout = Layout((int(width), int(height)), (left, top, right, bottom), (x, y, across, down))
    return move(objects, layout.homography(), *layout.size)


def thumbnail(payload: bytes, side: int) -> bytes | None:
    """A PNG of at most `side` pixels a side, or None when the payload is no image."""
    try:
        image = decode(payload).image
    except Undecodable:
        return None
    image.thumbnail((side, side), _FILTERS["bicubic"])
    return encode_image(image, "png")


class Layout(NamedTuple):
    """Which window of the image goes where in the result; pixels."""

    size: tuple[int, int]  # of the result
    window: tuple[float, float, float, float]  # left, top, right, bottom in the image
    place: tuple[int, int, int, int]  # left, top, width, height in the result

    def homography(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """[3, 3] source → target in continuous coordinates."""
        left, top, right, bottom = self.window
        x, y, width, height = self.place
        across, down = width / (right - left), height / (bottom - top)
        return np.array([[across, 0, x - across * left], [0, down, y - down * top], [0, 0, 1]])


def _whole(image: Decoded) -> tuple[float, float, float, float]:
    return 0.0, 0.0, float(image.width), float(image.height)


def _layout(image: Decoded, spec: dict[str, Any]) -> Layout:
    width, height = spec.get("size") or (spec["side"], spec["side"])
    whole = _whole(image)
    if spec["fit"] == "crop":
        return Layout((width, height), _window(image, width, height, spec), (0, 0, width, height))
    if spec["fit"] == "stretch":
        return Layout((width, height), whole, (0, 0, width, height))
    inner = _contained(image.size, width, height)
    if spec["fit"] == "inside":
        return Layout(inner, whole, (0, 0, *inner))
    return Layout((width, height), whole, (round((width - inner[0]) / 2), round((height - inner[1]) / 2), *inner))


def _contained(size: tuple[int, int], width: int, height: int) -> tuple[int, int]:
    """The largest size of the image's aspect within width × height."""
    if size[0] * height > width * size[1]:
        return width, max(1, round(size[1] / size[0] * width))
    return max(1, round(size[0] / size[1] * height)), height


def _window(image: Decoded, width: int, height: int, spec: dict[str, Any]) -> tuple[float, float, float, float]:
    """The largest window of that aspect: about the middle, or where the information is."""
    excess = image.width * height - width * image.height  # in whole numbers: an image of that aspect is kept whole
    wide = width * image.height / height if excess > 0 else float(image.width)
    high = height * image.width / width if excess < 0 else float(image.height)
    at = 0.5
    if excess and spec.get("anchor") == "entropy":
        share, axis = (wide / image.width, 1) if excess > 0 else (high / image.height, 0)
        at = offset(_in_mode(image, spec), share, axis=axis)
    left, top = (image.width - wide) * at, (image.height - high) * at
    return left, top, left + wide, top + high


def _in_mode(decoded: Decoded, spec: dict[str, Any]) -> Image.Image:
    return decoded.image if decoded.colour == spec["mode"] else decoded.image.convert(spec["mode"])


def _drawn(decoded: Decoded, layout: Layout, spec: dict[str, Any]) -> Image.Image:
    image = _in_mode(decoded, spec)
    x, y, *inner = layout.place
    same = image.size == tuple(inner) and layout.window == _whole(decoded)
    how = _FILTERS[spec.get("filter", "bicubic")]
    drawn = image if same else image.resize((inner[0], inner[1]), how, layout.window)
    if layout.size == drawn.size:
        return drawn
    fill = spec.get("fill", 0)
    canvas = Image.new(image.mode, layout.size, fill if image.mode == "L" else (fill, fill, fill))
    canvas.paste(drawn, (x, y))
    return canvas
