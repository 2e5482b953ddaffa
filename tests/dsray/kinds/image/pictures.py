"""Images for tests: smooth random photos, digits as thick strokes, and hypothesis strategies."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from dsray.kinds.image.codec import Pixels

FORMATS = ("jpeg", "png", "webp", "gif", "bmp", "tiff")


def photo(seed: int, height: int = 96, width: int = 128, channels: int = 3) -> Pixels:
    """Smooth noise at several scales over the full range, [H, W, C]."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, channels))
    for cells in (3, 6, 12, 24):
        coarse = rng.normal(size=(cells, cells, channels)) / cells
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).reshape(total.shape)
    low, high = total.min(), total.max()
    return ((total - low) / max(high - low, 1e-9) * 255).astype(np.uint8)


def saved(image: Image.Image | Pixels, format: str, **options: Any) -> bytes:
    """Encoded by Pillow alone."""
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image[:, :, 0] if image.shape[-1] == 1 else image)
    out = io.BytesIO()
    image.save(out, format.upper(), **options)
    return out.getvalue()


def printed_by_two_processes(script: str) -> set[bytes]:
    """What a script prints, run twice in fresh processes at the root of the repository."""
    command = [sys.executable, "-c", script]
    root = Path(__file__).parents[4]
    return {subprocess.run(command, capture_output=True, check=True, timeout=60, cwd=root).stdout for _ in range(2)}


def images(channels: int | None = None) -> st.SearchStrategy[Pixels]:
    """Any small image, [H, W, C]."""
    shape = st.tuples(st.integers(1, 24), st.integers(1, 24), st.sampled_from([channels] if channels else [1, 3]))
    return arrays(np.uint8, shape)
