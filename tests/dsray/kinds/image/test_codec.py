import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from dsray.kinds.image.codec import MAX_PIXELS, Decoded, Pixels, Undecodable, decode, encode, from_arrays, to_arrays
from tests.dsray.kinds.image.pictures import FORMATS, images, photo, printed_by_two_processes, saved

HEADS = (b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"MM\0*")


def reason(payload: bytes) -> str:
    with pytest.raises(Undecodable) as caught:
        decode(payload)
    return caught.value.reason


def outcome(payload: bytes) -> str:
    """`ok` or the reason; any other exception fails the test."""
    try:
        image = decode(payload)
    except Undecodable as undecodable:
        return undecodable.reason
    assert image.pixels_HWC.dtype == np.uint8
    assert image.pixels_HWC.ndim == 3 and image.pixels_HWC.shape[2] in (1, 3)
    return "ok"


@given(st.binary(max_size=300), st.sampled_from(HEADS))
@example(b"", b"")
@example(b"WEBPVP8 ", b"RIFF\0\0\0\0")
def test_any_bytes_are_an_image_or_undecodable(tail: bytes, head: bytes) -> None:
    assert outcome(head + tail) in {"ok", "empty", "not_an_image", "svg", "truncated", "broken", "bomb", "mode"}


def test_damaged_files_are_images_or_undecodable_and_stderr_stays_silent(
    whole_files: dict[str, bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    @settings(max_examples=400, deadline=None)
    @given(
        name=st.sampled_from(sorted(whole_files)),
        damage=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255), st.booleans()), min_size=1, max_size=6),
    )
    def check(name: str, damage: list[tuple[float, int, bool]]) -> None:
        payload = bytearray(whole_files[name])
        for where, value, early in damage:
            payload[int(where * (min(len(payload), 200) if early else len(payload)) - 1)] = value
        outcome(bytes(payload))

    check()
    assert capfd.readouterr().err == ""


@pytest.fixture(scope="module")
def whole_files() -> dict[str, bytes]:
    whole = {name: saved(photo(1, 40, 50), name) for name in FORMATS}
    tiffs = {name: saved(photo(1, 40, 50), "tiff", compression=name) for name in ("tiff_lzw", "tiff_adobe_deflate")}
    strange = {"tiff_jpeg": saved(photo(1, 40, 50), "tiff", compression="jpeg")}
    return whole | tiffs | strange | {"progressive": saved(photo(1), "jpeg", progressive=True)}


@pytest.mark.parametrize("name", ["jpeg", "progressive", "png", "webp", "gif", "bmp"])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.8, 0.95])
def test_a_truncated_file_is_truncated(name: str, share: float, whole_files: dict[str, bytes]) -> None:
    payload = whole_files[name]
    assert reason(payload[: int(share * len(payload))]) == "truncated"


@given(images(), st.sampled_from(["png", "bmp", "tiff", "webp"]))
def test_lossless_formats_keep_every_pixel(pixels_HWC: Pixels, name: str) -> None:
    image = decode(saved(pixels_HWC, name, **({"lossless": True} if name == "webp" else {})))
    expected = np.repeat(pixels_HWC, 3, axis=2) if name == "webp" and pixels_HWC.shape[2] == 1 else pixels_HWC
    np.testing.assert_array_equal(image.pixels_HWC, expected)
    assert (image.format, image.height, image.width) == (name, *pixels_HWC.shape[:2])


@given(images())
def test_png_round_trips_and_is_the_same_bytes_each_time(pixels_HWC: Pixels) -> None:
    payload = encode(pixels_HWC)
    assert encode(pixels_HWC.copy()) == payload
    np.testing.assert_array_equal(decode(payload).pixels_HWC, pixels_HWC)


@pytest.mark.parametrize("name", ["jpeg", "webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_lossy_formats_stay_near(name: str, channels: int) -> None:
    pixels_HWC = photo(2, channels=channels)
    image = decode(encode(pixels_HWC, name))
    assert image.format == name
    assert np.abs(image.pixels_HWC.astype(int) - pixels_HWC).mean() < 3


def test_encoding_is_the_same_in_another_process() -> None:
    script = (
        "import hashlib; from dsray.kinds.image import encode; from tests.dsray.kinds.image.pictures import photo;"
        "print([hashlib.sha256(encode(photo(3), f)).hexdigest() for f in ('png', 'jpeg', 'webp')])"
    )
    assert len(printed_by_two_processes(script)) == 1


@given(st.integers(0, 4), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]), st.data())
def test_arrays_round_trip(count: int, height: int, width: int, channels: int, data: st.DataObject) -> None:
    flat = data.draw(st.binary(min_size=count * height * width * channels, max_size=count * height * width * channels))
    images_NHWC = np.frombuffer(flat, np.uint8).reshape(count, height, width, channels)
    found = to_arrays(from_arrays(images_NHWC))
    assert found.ndim == 4 and found.dtype == np.uint8
    assert count == 0 or np.array_equal(found, images_NHWC)


def test_arrays_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        to_arrays([encode(photo(0, 8, 8)), encode(photo(0, 8, 9))])


@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_orientation_is_applied(turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    stored = photo(4, 16, 24)
    turned = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: np.rot90(stored, -1),
        7: stored[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(stored),
    }[turn]
    np.testing.assert_array_equal(decode(saved(stored, "png", exif=exif)).pixels_HWC, turned)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_usual_mode_becomes_grey_or_colour(mode: str) -> None:
    image = Image.fromarray(photo(5, channels=1)[:, :, 0])
    deep = Image.fromarray(np.asarray(image).astype(np.uint16) << 8)
    stored = deep if mode == "I;16" else image.convert("RGB").convert(mode)
    found = decode(saved(stored, "tiff" if mode == "CMYK" else "png"))
    assert found.mode == mode
    assert found.pixels_HWC.shape[2] == (1 if mode in ("1", "L", "LA", "I;16") else 3)
    tolerance = 64 if mode == "1" else 20
    assert abs(float(found.pixels_HWC.mean()) - float(photo(5, channels=1).mean())) < tolerance


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_lies_on_white(mode: str) -> None:
    clear = Image.new(mode, (4, 4), (0,) * len(mode))
    assert (decode(saved(clear, "png")).pixels_HWC == 255).all()
    assert decode(saved(clear, "png")).channels == len(mode)


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [Image.new("L", (5, 5), level) for level in (10, 200)]
    assert (decode(saved(frames[0], "gif", save_all=True, append_images=frames[1:])).pixels_HWC == 10).all()


def test_floating_point_pixels_are_refused() -> None:
    assert reason(saved(Image.new("F", (4, 4), 0.5), "tiff")) == "mode"


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", "empty"),
        (b"<!doctype html><html><p>404", "not_an_image"),
        (b"%PDF-1.7", "not_an_image"),
        (b"\x00" * 100, "not_an_image"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "svg"),
        (b'\xef\xbb\xbf <?xml version="1.0"?>\n<!-- a -->\n<svg width="1">', "svg"),
    ],
)
def test_what_is_no_image_says_so(payload: bytes, expected: str) -> None:
    assert reason(payload) == expected


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds one empty line."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    ihdr = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", ihdr) + chunk(b"IDAT", zlib.compress(b"\0" * 9)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8001, 10_000, 50_000])
def test_a_bomb_is_refused_by_its_header(side: int, recwarn: pytest.WarningsRecorder) -> None:
    assert side * side > MAX_PIXELS
    assert reason(png_header(side, side)) == "bomb"
    assert not recwarn


def test_a_size_at_the_limit_is_decoded_not_refused() -> None:
    assert reason(png_header(8000, 8000)) == "truncated"  # one line of 8,000: the header was let through


def test_undecodable_travels_between_processes() -> None:
    import pickle

    assert pickle.loads(pickle.dumps(Undecodable("bomb"))).reason == "bomb"


def test_decoding_agrees_with_opencv() -> None:
    import cv2

    payload = saved(photo(6), "png")
    theirs = cv2.cvtColor(cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    ours = decode(payload)
    assert isinstance(ours, Decoded)
    np.testing.assert_array_equal(ours.pixels_HWC, theirs)
    np.testing.assert_array_equal(ours.pixels_HWC, np.asarray(Image.open(io.BytesIO(payload))))
