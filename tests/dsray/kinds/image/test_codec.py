import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from dsray.kinds.image import codec
from dsray.kinds.image.codec import (
    MAX_PIXELS,
    MAX_SIDE,
    Decoded,
    Pixels,
    Undecodable,
    decode,
    encode,
    encode_image,
    from_arrays,
    to_arrays,
)
from tests.dsray.kinds.image import mutated
from tests.dsray.kinds.image.pictures import (
    FORMATS,
    images,
    interlaced,
    photo,
    printed_by_two_processes,
    profile,
    saved,
)

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


@pytest.mark.parametrize("name", ["progressive", *FORMATS])
def test_a_truncated_file_keeps_what_it_holds_or_is_refused(name: str) -> None:
    """From a quarter of the rows on it is an image; and the rows that it holds are those of the whole file."""
    options = {"progressive": {"progressive": True}, "gif": {"interlace": 0}}.get(name, {})
    payload = saved(photo(1, 160, 200), name.replace("progressive", "jpeg"), **options)
    whole = decode(payload)
    assert not whole.truncated
    assert reason(payload[: len(payload) // (50 if name == "progressive" else 10)]) == "truncated"
    for share in (0.5, 0.7, 0.9):
        part = payload[: int(share * len(payload))]
        if name in ("webp", "avif"):  # their decoders give nothing back
            assert reason(part) == "truncated"
            continue
        found = decode(part)
        assert found.truncated and found.pixels_HWC.shape == whole.pixels_HWC.shape
        if name != "progressive":  # which holds all rows, coarsely
            same = (found.pixels_HWC == whole.pixels_HWC).all(axis=(1, 2))
            first = same[::-1] if name == "bmp" else same
            assert first[: int((share - 0.3) * len(first))].all() and not first.all()


@pytest.mark.parametrize("share", np.linspace(0.02, 0.99, 40))
def test_a_progressive_file_is_truncated_wherever_it_is_cut(share: float, whole_files: dict[str, bytes]) -> None:
    payload = whole_files["progressive"]
    assert outcome(payload[: int(share * len(payload))]) in ("ok", "truncated")


@pytest.mark.parametrize("name", ["gif", "png"])
def test_what_is_left_of_an_interlaced_file_is_refused(name: str) -> None:
    grey_HW = photo(1, channels=1)[:, :, 0]
    payload = interlaced(grey_HW) if name == "png" else saved(grey_HW[:, :, None], "gif", interlace=1)
    np.testing.assert_array_equal(decode(payload).pixels_HWC[:, :, 0], grey_HW)
    assert decode(payload).format == name
    assert reason(payload[: len(payload) * 3 // 4]) == "truncated"


def test_a_truncated_blank_is_refused() -> None:
    assert reason(saved(np.zeros((90, 90, 1), np.uint8), "bmp")[:5000]) == "truncated"


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
    for name in ("png", "tiff"):
        found = decode(saved(stored, name, exif=exif))
        assert found.orientation == turn
        np.testing.assert_array_equal(found.pixels_HWC, turned)


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in ("gif", "bmp")])
def test_every_format_with_exif_is_turned(name: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    found = decode(saved(photo(4, 16, 24), name, exif=exif))
    assert (found.orientation, found.height, found.width) == (8, 24, 16)


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
    for name in ("gif", "png", "tiff", "webp"):
        found = decode(saved(frames[0], name, save_all=True, append_images=frames[1:]))
        assert found.animated and abs(found.pixels_HWC.astype(int) - 10).max() <= 2
        assert not decode(saved(frames[0], name)).animated


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


@given(images(), st.integers(1, 100))
def test_a_jpeg_is_the_one_that_pillow_writes(pixels_HWC: Pixels, quality: int) -> None:
    theirs = saved(pixels_HWC, "jpeg", quality=quality, subsampling=0)
    assert encode(pixels_HWC, "jpeg", quality) == theirs
    assert encode_image(decode(encode(pixels_HWC)).image, "jpeg", quality) == theirs


def test_opencv_decodes_what_pillow_decodes_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 600 damaged JPEGs: the same pixels or the same reason, by whichever library."""

    def outcome(payload: bytes) -> tuple[object, bool]:
        try:
            image = decode(payload)
        except Undecodable as undecodable:
            return undecodable.reason, False
        facts = {name: value for name, value in vars(image).items() if name not in ("held", "image", "pixels_HWC")}
        return (facts, image.pixels_HWC.tolist()), isinstance(image.held, np.ndarray)

    whole = mutated.whole_files()
    kinds = [place for place, file in enumerate(whole) if file.startswith(b"\xff\xd8")]
    numbers = [turn * len(whole) + place for turn in range(600 // len(kinds)) for place in kinds]
    payloads = [*whole, *map(mutated.mutated, numbers)]
    found = [outcome(payload) for payload in payloads]
    monkeypatch.setattr(codec, "_plain", lambda *_: None)
    assert [one for one, _ in found] == [outcome(payload)[0] for payload in payloads]
    fast = [by_opencv for _, by_opencv in found]
    assert any(fast[: len(whole)]) and 20 < sum(fast[len(whole) :]) < 400


def test_only_a_profile_that_moves_colours_needs_pillow() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain, same, wide = (
        decode(saved(photo(1), "jpeg", **said))
        for said in ({}, {"icc_profile": srgb}, {"icc_profile": profile("Wide")})
    )
    assert [isinstance(image.held, np.ndarray) for image in (plain, same, wide)] == [True, True, False]
    np.testing.assert_array_equal(plain.pixels_HWC, same.pixels_HWC)
    assert (same.profile, wide.profile) == (None, "Wide") and (wide.pixels_HWC != plain.pixels_HWC).any()


def test_pixels_are_those_of_the_image() -> None:
    exif = Image.Exif()
    exif[0x0112] = 5
    options = {"exif": exif, "icc_profile": profile("Wide")}
    for payload in (saved(photo(7), "jpeg", **options), saved(photo(7, channels=1), "png"), saved(photo(7), "gif")):
        ours = decode(payload)
        assert ours.pixels_HWC.shape[:2] == (ours.height, ours.width)
        np.testing.assert_array_equal(ours.pixels_HWC, np.asarray(ours.image).reshape(ours.pixels_HWC.shape))
    huge = Image.fromarray(photo(8, 2100, 2100))  # more than one block of Pillow's memory
    np.testing.assert_array_equal(decode(saved(huge, "bmp")).pixels_HWC, np.asarray(huge))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
def test_transparent_means_that_a_pixel_is(mode: str) -> None:
    image = Image.fromarray(photo(3, channels=1)[:, :, 0]).convert("RGBA").convert(mode)
    options = {"transparency": int(np.asarray(image).flat[0])} if mode in ("P", "L") else {}
    if mode in ("RGBA", "LA"):
        assert not decode(saved(image, "png")).transparent
        image.putpixel((0, 0), (0,) * (len(mode) - 1) + (254,))
    assert decode(saved(image, "png", **options)).transparent
    assert not decode(saved(image.convert("RGB"), "png")).transparent


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    payload = saved(photo(1, 2000, 2000), "jpeg", progressive=True)
    scan = payload.rindex(b"\xff\xda")
    assert decode(payload).height == 2000
    assert reason(payload[:-2] + payload[scan : scan + 20] * 20_000 + payload[-2:]) == "bomb"


@pytest.mark.parametrize(("width", "height"), [(60_000, 1), (65_536, 1), (1, 70_000)])
def test_lines_longer_than_any_picture_are_refused(width: int, height: int) -> None:
    expected = "truncated" if width <= MAX_SIDE and height <= MAX_SIDE else "bomb"
    assert reason(png_header(width, height)) == expected


def test_bombs_in_a_few_bytes_take_little_memory() -> None:
    """Claims of huge canvases, tiles, lines and texts: all end within 300 MB above what the process has."""
    script = (
        "from tests.dsray.kinds.image.bombs import BOMBS\n"
        "from tests.memory import peak\n"
        "from tests.dsray.kinds.image.pictures import measured\n"
        "before = peak()\n"
        "found = {name: measured(bomb)['error'] for name, bomb in BOMBS.items()}\n"
        "print(found, (peak() - before) // 2**20)"
    )
    root = Path(__file__).parents[4]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, cwd=root)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) < 300, done.stdout
    assert "None" not in done.stdout
