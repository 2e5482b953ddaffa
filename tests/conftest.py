"""One Ray and one S3 server for the whole session, and raw rows that every stage's tests share."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from dsray import keys, schema
from dsray.lake.store import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty lake of files."""
    return open_store(f"file://{tmp_path / 'lake'}")


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """A local Ray of two cores."""
    from dsray.engine.connect import connected

    with connected(cpus=2):
        yield


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def drawing(seed: int, side: int = 28) -> np.ndarray:
    """A grey picture with edges and flat parts, another for each seed."""
    random = np.random.default_rng(seed)
    pixels = np.zeros((side, side), np.uint8)
    for _ in range(4):
        y, x = random.integers(2, side - 8, 2)
        height, width = random.integers(3, 8, 2)
        pixels[y : y + height, x : x + width] = random.integers(60, 255)
    return pixels


def raw_table(
    payloads: list[bytes | None], captions: list[str | None] | None = None, errors: list[str | None] | None = None
):
    """Raw rows as a crawl writes them."""
    rows = []
    for index, payload in enumerate(payloads):
        digest = keys.digest(payload) if payload is not None else None
        url = f"http://site/{index}.png"
        rows.append(
            {
                "id": keys.row_id("gallery", url, digest or "none"),
                "source": "gallery",
                "url": url,
                "final_url": url,
                "page": "http://site/",
                "status": 200,
                "headers": "{}",
                "fetched_at": datetime(2026, 11, 23, tzinfo=UTC),
                "digest": digest,
                "error": errors[index] if errors else None,
                "evidence": None,
                "payload": payload,
                "caption": captions[index] if captions else f"digit {index % 10}",
            }
        )
    return pa.Table.from_pylist(rows, schema=schema.RAW.append(pa.field("caption", pa.string())))


@pytest.fixture(scope="session")
def raw() -> pa.Table:
    """24 rows: good drawings, a truncated one, an empty one, noise bytes, a blank one, two equal ones, one without payload."""
    good = [png(drawing(seed)) for seed in range(17)]
    bad = [
        good[0][:60],
        b"",
        b"\x00\x01nonsense" * 9,
        png(np.zeros((28, 28), np.uint8)),
        good[1],
        png(drawing(3, 12)),
        None,
    ]
    return raw_table(good + bad, errors=[None] * 23 + ["robots"])
