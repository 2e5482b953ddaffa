"""A corpus of 2,000 images in a folder: 1,500 that are fine, 15 kinds of defects twenty times, 200 near-duplicates."""

import io
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

Pixels = NDArray[np.uint8]

CLEAN, EACH, NEAR = 1500, 20, 50
CLASSES = ("coast", "field", "night", "town")
NAMELESS = "unsorted"

DROP = {
    "truncated": True, "animated": True, "transparent": True,
    "min_side": 64, "max_aspect": 3, "dark": {"max": 0.9}, "bright": {"max": 0.9}, "low_information": {"min": 3},
    "blur": {"min": 40},
}  # fmt: skip
"""The rules that the defects break."""


@dataclass
class Corpus:
    """What lies in the folder: file → the rule that it must fail; copies → their original."""

    broken: dict[str, str] = field(default_factory=dict)
    near: dict[str, str] = field(default_factory=dict)
    how: dict[str, str] = field(default_factory=dict)
    clean: list[str] = field(default_factory=list)


def picture(number: int, height: int = 0, width: int = 0) -> Pixels:
    """Light at several scales, things with edges, grain: [H, W, 3], another for each number."""
    random = np.random.default_rng(number)
    height = height or int(random.integers(120, 200))
    width = width or int(height * random.uniform(0.75, 1.6))
    light = np.zeros((height, width, 3))
    for cells in (3, 6, 12, 24, 48):
        coarse = random.normal(size=(cells, cells, 3)) / cells
        light += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    pixels = ((light - light.min()) / np.ptp(light) * 255).astype(np.uint8)
    for _ in range(int(random.integers(3, 9))):
        centre = int(random.integers(width)), int(random.integers(height))
        axes = int(random.integers(6, width // 4)), int(random.integers(6, height // 4))
        colour = random.integers(0, 256, 3).tolist()
        cv2.ellipse(pixels, centre, axes, int(random.integers(180)), 0, 360, colour, -1 if random.random() < 0.7 else 3)
    grain = cv2.GaussianBlur(random.normal(0, 8, (height, width, 1)), (0, 0), 0.7)[:, :, None]
    return np.clip(pixels + grain, 0, 255).astype(np.uint8)


def saved(pixels: Pixels | Image.Image, format: str = "JPEG", **options: object) -> bytes:
    out = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(out, format, **({"quality": 90} if format == "JPEG" else {}) | options)  # type: ignore[arg-type]
    return out.getvalue()


def bomb() -> bytes:
    """A PNG whose header promises 50,000 × 50,000 pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(1000))
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (head, data)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def defects(number: int) -> dict[str, tuple[str, bytes, str]]:
    """Kind of defect → file ending, bytes, the rule that they fail."""
    pixels = picture(number)
    whole = saved(pixels)
    height, width = pixels.shape[:2]
    clear = np.dstack([pixels, np.where(np.arange(width) < width // 3, 0, 255)[None].repeat(height, 0)])
    frames = [Image.fromarray(np.roll(pixels, 9 * frame, axis=1)) for frame in range(3)]
    random = np.random.default_rng(number)
    return {
        "empty": ("jpg", b"", "undecodable"),
        "page": ("jpg", b"<!doctype html><title>404</title><p>" + str(number).encode(), "undecodable"),
        "drawing": ("svg", b'<svg xmlns="http://www.w3.org/2000/svg"><!-- %d --></svg>' % number, "undecodable"),
        "bomb": ("png", bomb() + b"%d" % number, "undecodable"),
        "rubbish": ("jpg", whole[:200] + random.bytes(900), "undecodable"),
        "short": ("jpg", whole[: int(len(whole) * 0.7)], "truncated"),
        "moving": ("gif", saved(frames[0], "GIF", save_all=True, append_images=frames[1:]), "animated"),
        "clear": ("png", saved(clear.astype(np.uint8), "PNG"), "transparent"),
        "blurred": ("jpg", saved(cv2.GaussianBlur(pixels, (0, 0), 6).astype(np.uint8)), "blur"),
        "dark": ("jpg", saved((pixels // 12).astype(np.uint8)), "dark"),
        "bright": ("jpg", saved((255 - pixels // 12).astype(np.uint8)), "bright"),
        "flat": ("jpg", saved((100 + number % 40 + pixels // 64).astype(np.uint8)), "low_information"),
        "tiny": ("jpg", saved(picture(number, 40, 48)), "min_side"),
        "strip": ("jpg", saved(picture(number, 70, 400)), "max_aspect"),
    }


def nears(pixels: Pixels) -> dict[str, bytes]:
    """The same picture in another guise."""
    image = Image.fromarray(pixels)
    small = image.resize((image.width * 6 // 10, image.height * 6 // 10), Image.Resampling.BICUBIC)
    return {
        "resized": saved(small),
        "jpeg40": saved(image, quality=40),
        "cropped": saved(pixels[:, round(pixels.shape[1] * 0.02) :]),
        "brighter": saved(ImageEnhance.Brightness(image).enhance(1.2)),
    }


def write(folder: Path) -> Corpus:
    """Writes the corpus, in one folder a class; what is in `unsorted` nobody labels."""
    corpus = Corpus()

    def put(number: int, name: str, data: bytes) -> str:
        path = folder / CLASSES[number % len(CLASSES)] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return f"{path.parent.name}/{name}"

    for number in range(CLEAN):
        corpus.clean.append(put(number, f"{number:05d}.jpg", saved(picture(number))))
    for number in range(EACH):
        for kind, (ending, data, rule) in defects(10_000 + number).items():
            corpus.broken[put(number, f"{kind}-{number}.{ending}", data)] = rule
        copy = put(number, f"same-{number}.jpg", (folder / corpus.clean[number]).read_bytes())
        corpus.near[copy], corpus.how[copy] = corpus.clean[number], "same"
    for number in range(NEAR):
        for place, how in enumerate(nears(picture(0))):
            source = EACH + 4 * number + place
            copy = put(source, f"{how}-{number}.jpg", nears(picture(source))[how])
            corpus.near[copy], corpus.how[copy] = corpus.clean[source], how
    return corpus
