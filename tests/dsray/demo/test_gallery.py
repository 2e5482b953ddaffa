"""The demo's pictures and their defects."""

import io
import re

import cv2
import numpy as np
import pytest
from PIL import Image

from dsray.demo.gallery import gallery, png
from dsray.errors import SourceError

RULES = {
    "exact_duplicate", "near_duplicate", "undecodable", "dark", "low_information", "min_side", "max_aspect", "blur",
    "unlabelled", "opted_out", "robots", "http_status", "redirects",
}  # fmt: skip


def pixels(body: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(body)))


@pytest.mark.parametrize("size", [200, 1000])
def test_every_defect_is_there_and_every_figure_has_an_answer(size):
    shown = gallery(size)
    assert set(shown.plan.values()) == RULES
    pages = b"".join(a.body for p, a in shown.answers.items() if p.startswith("/page/") or p == "/opted-out/")
    sources = re.findall(rb'<img src="([^"]+)"', pages)
    assert len(sources) == len(set(sources))
    assert {s.decode() for s in sources} <= shown.answers.keys()
    images = {path for path in shown.plan if path.endswith(".png")}
    assert images <= {s.decode() for s in sources}
    assert sum(b"number" in caption for caption in re.findall(rb"<figcaption>([^<]*)", pages)) == size
    assert not set(shown.kept) & shown.plan.keys()


def test_a_png_is_what_other_decoders_say():
    image = np.random.default_rng(0).integers(0, 256, (28, 31), dtype=np.uint8)
    assert np.array_equal(pixels(png(image)), image)
    assert np.array_equal(cv2.imdecode(np.frombuffer(png(image), np.uint8), cv2.IMREAD_GRAYSCALE), image)


def test_defects_are_beyond_the_recipes_thresholds_and_within_all_earlier_ones():
    shown = gallery(None)
    for path, rule in shown.plan.items():
        if rule in ("blur", "dark", "low_information", "unlabelled", "near_duplicate", "exact_duplicate"):
            image = pixels(shown.answers[path].body)
            share = np.bincount(image.ravel(), minlength=256) / image.size
            entropy = -(share[share > 0] * np.log2(share[share > 0])).sum()
            blurred = cv2.Laplacian(image, cv2.CV_16S).var() < 15
            dark, flat = bool((image < 16).mean() > 0.98), bool(entropy < 1.0)
            found = [name for name, is_so in [("blur", blurred), ("dark", dark), ("low_information", flat)] if is_so]
            assert found[:1] == ([rule] if rule in ("blur", "dark", "low_information") else [])


def test_twins_are_the_same_or_nearly():
    shown = gallery(200)
    for path, original in shown.twins.items():
        one, other = shown.answers[path].body, shown.answers[original].body
        assert (one == other) == (shown.plan[path] == "exact_duplicate")
        change = np.abs(pixels(one).astype(int) - pixels(other))
        assert (change > 0).sum() <= 2 and change.max() <= 3
        assert original in shown.answers and original not in shown.plan


def test_undecodable_ones_are_and_good_ones_are_not():
    shown = gallery(200)
    for path, rule in shown.plan.items():
        if rule == "undecodable":
            with pytest.raises((OSError, SyntaxError, ValueError)):
                pixels(shown.answers[path].body)
    assert all(pixels(a.body).shape == (28, 28) for p, a in shown.answers.items() if p.startswith("/digits/"))


def test_it_is_the_same_each_time_and_says_what_sizes_it_has():
    first = gallery(100)
    gallery.cache_clear()
    assert gallery(100) == first
    for size in (99, 5001):
        with pytest.raises(SourceError):
            gallery(size)
