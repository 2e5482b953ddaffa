import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from dsray.report.grid import grid, thumbnail


def pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGBA"))


def encoded(array: np.ndarray, form: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, form)
    return out.getvalue()


SHEETS = st.tuples(st.integers(1, 7), st.integers(1, 5), st.integers(1, 5), st.sampled_from([0, 1, 3, 4])).flatmap(
    lambda s: arrays(np.uint8, s[:3] if s[3] == 0 else s)
)


@settings(max_examples=60)
@given(SHEETS, st.integers(1, 4), st.integers(1, 3), st.integers(0, 2))
def test_every_image_is_in_its_cell_enlarged_and_otherwise_unchanged(
    images: np.ndarray, columns: int, scale: int, gap: int
) -> None:
    sheet = pixels(grid(images, columns, scale, gap))
    height, width = images.shape[1:3]
    for i, image in enumerate(images):
        columns_here = min(columns, len(images))
        y, x = (i // columns_here) * (height + gap) * scale, (i % columns_here) * (width + gap) * scale
        cell = sheet[y : y + height * scale : scale, x : x + width * scale : scale]
        plain = image.squeeze(-1) if image.ndim == 3 and image.shape[2] == 1 else image
        assert np.array_equal(cell, np.asarray(Image.fromarray(plain).convert("RGBA")))


def test_encoded_images_and_pixels_make_the_same_sheet() -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
    assert grid([encoded(image) for image in images], 3) == grid(images, 3)


def test_a_damaged_image_is_an_empty_cell_and_the_others_stay() -> None:
    image = np.full((8, 8), 200, np.uint8)
    sheet = pixels(grid([encoded(image), encoded(image)[:40], b"", encoded(image)], 2, scale=1, gap=0))
    assert (sheet[:8, :8, :3] == 200).all() and (sheet[8:, 8:, :3] == 200).all()
    assert (sheet[:8, 8:, 3] < 100).all() and (sheet[8:, :8, 3] < 100).all()


def test_gaps_are_transparent() -> None:
    sheet = pixels(grid(np.zeros((4, 3, 3), np.uint8), 2, scale=1))
    assert sheet.shape == (7, 7, 4)
    assert (sheet[3, :, 3] == 0).all() and (sheet[:, 3, 3] == 0).all()


@pytest.mark.parametrize("images", [[], np.zeros((0, 4, 4), np.uint8)])
def test_nothing_to_show_is_an_error(images: object) -> None:
    with pytest.raises(ValueError, match="needs images"):
        grid(images, 2)  # type: ignore[arg-type]  # two kinds of nothing


def test_pixels_that_are_not_bytes_are_an_error() -> None:
    with pytest.raises(ValueError, match="uint8"):
        grid(np.zeros((1, 4, 4)), 1)  # type: ignore[arg-type]  # the mistake that is tested


@pytest.mark.parametrize(("size", "expected"), [((28, 28), (56, 56)), ((10, 20), (30, 60)), ((300, 100), (72, 24))])
def test_a_thumbnail_fits_and_keeps_its_proportions(size: tuple[int, int], expected: tuple[int, int]) -> None:
    height, width = size
    made = thumbnail(encoded(np.full((height, width), 90, np.uint8), "JPEG"), side=72)
    assert made is not None
    assert pixels(made).shape[:2] == expected


@pytest.mark.parametrize("cut", [0, 1, 9, 33, 60])
def test_a_truncated_file_has_no_thumbnail(cut: int) -> None:
    image = np.random.default_rng(1).integers(0, 256, (16, 16), np.uint8)
    assert thumbnail(encoded(image)[:cut]) is None
