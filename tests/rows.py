"""Raw rows and pictures that the tests of many stages share."""

import io
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from PIL import Image

from dsray import keys, schema
from dsray.stages.measure import facts_and_forms
from dsray.stages.samples import media, sample_table


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def drawing(seed: int, side: int = 28) -> np.ndarray:
    """A grey picture with edges and flat parts, another for each seed."""
    random = np.random.default_rng(seed)
    pixels = np.zeros((side, side), np.uint8)
    for _ in range(4):
        y, x = random.integers(0, max(1, side - 8), 2)
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


def facts_of(raw, careful=False):
    """The facts of raw rows with images."""
    said = {"kind_name": "image", "signals": {}, "spec": {}, "careful": careful}
    ((table, _),) = facts_and_forms({"render": False}, raw, **said)
    return table


def lent(samples, forms):
    """Gathered samples with the media that they borrow."""
    media = forms["media"].combine_chunks().take(samples["media"].combine_chunks())
    return samples.set_column(samples.schema.get_field_index("media"), "media", media)


def sample_rows(payloads: list[bytes], labels: list[str | None], splits: list[str] | None = None, **columns):
    """Rendered rows; training rows if nothing is said."""
    ids = [keys.row_id("sample", str(index)) for index in range(len(payloads))]
    return sample_table(
        len(ids),
        id=pa.array(ids),
        media=media(payloads, [f"{one}.bin" for one in ids]),
        label=pa.array(labels, pa.string()),
        split=pa.array(splits or ["train"] * len(ids)),
        origin=pa.array(["real"] * len(ids)),
        **columns,
    )
