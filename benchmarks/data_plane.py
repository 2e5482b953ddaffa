"""measure + render + augment through the engine against a bare process pool that runs the same kernels.

JPEGs of 256×256, like photos and made here, lie on a file lake in raw shards of 31 MB: 2,000 images, where `files` ends
a shard at the latest; design §5 has 64 to 256 MB. dsray runs the stages of a build: reads shards, measures and renders
from one decode, gathers samples, augments them, and writes Parquet with digest, fsync and receipt. The pool has the
same payloads in memory, decodes each once, runs measure, render and apply, and keeps nothing: no Parquet, no storage,
no digests.
"""

import io
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pyarrow as pa
from PIL import Image

from benchmarks import protocol
from dsray import keys, schema
from dsray.engine.connect import connected
from dsray.kinds import image
from dsray.lake import shards
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt
from dsray.lake.store import Store, open_store
from dsray.recipe import model
from dsray.stages import augment, gather, measure, render
from dsray.stages.step import Progress, Work, balance

AT_LEAST = 0.9
SIDE = 256
RENDER = {"side": SIDE, "mode": "RGB", "format": "jpeg", "fit": "pad"}
STAGES: dict[str, Any] = {"measure": measure, "render": render, "gather": gather, "augment": augment}
AUGMENT = {"copies": 1, "rotate": 12, "scale": [0.9, 1.1], "translate": 0.08, "noise": 0.03}


def photo(number: int) -> bytes:
    """A JPEG of soft colours, edges and grain: about 15 KB, as a photo of this size has."""
    rng = np.random.default_rng(number)
    pixels_HWC = cv2.resize(rng.integers(0, 256, (8, 8, 3), np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    for _ in range(12):
        centre, axes = rng.integers(0, SIDE, 2).tolist(), rng.integers(5, 60, 2).tolist()
        cv2.ellipse(pixels_HWC, centre, axes, int(rng.integers(180)), 0, 360, rng.integers(0, 256, 3).tolist(), -1)
    grain = cv2.GaussianBlur(rng.normal(0, 12, (SIDE, SIDE, 1)), (0, 0), 0.8)[:, :, None]
    out = io.BytesIO()
    Image.fromarray(np.clip(pixels_HWC + grain, 0, 255).astype(np.uint8)).save(out, "JPEG", quality=85)
    return out.getvalue()


def raw_table(payloads: Sequence[bytes], first: int) -> pa.Table:
    rows = []
    for number, payload in enumerate(payloads, first):
        url, digest = f"http://site/{number}.jpg", keys.digest(payload)
        said = {"source": "site", "url": url, "final_url": url, "page": "http://site/", "status": 200, "headers": "{}"}
        when = datetime(2026, 1, 1, tzinfo=UTC)
        named = {"id": keys.row_id("site", url, digest), "digest": digest, "fetched_at": when, "payload": payload}
        rows.append(said | named)
    return pa.Table.from_pylist(rows, schema=schema.RAW)


def all_kept(raw: pa.Table) -> pa.Table:
    """Verdicts that keep every row for training."""
    rows = [{"id": i, "kept": True, "label": "x", "cluster": i, "split": "train"} for i in raw["id"].to_pylist()]
    return pa.Table.from_pylist(rows, schema=schema.VERDICTS)


class Corpus(NamedTuple):
    """Raw shards with their verdicts on a file lake, the same payloads in memory, and a pool that was forked before Ray
    had threads."""

    folder: Path
    pool: ProcessPoolExecutor
    parts: list[list[bytes]]
    ids: list[list[str]]
    store: Store
    raw: list[Receipt]
    verdicts: list[Receipt]

    @property
    def files(self) -> list[str]:
        """The raw shards, for others to read."""
        return [str(self.folder / receipt.name) for receipt in self.raw]


@contextmanager
def corpus(images: int, a_shard: int) -> Iterator[Corpus]:
    """A lake of `images` photos, and a Ray session."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dsray-bench-")))
        pool = stack.enter_context(ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("fork")))
        payloads = list(pool.map(photo, range(images), chunksize=100))  # which forks the pool
        parts = [payloads[low : low + a_shard] for low in range(0, images, a_shard)]
        tables = [raw_table(part, number * a_shard) for number, part in enumerate(parts)]
        stack.enter_context(connected())
        store = open_store(f"file://{folder}")
        raw = [shards.write_raw(store, "site", table) for table in tables]
        verdicts = [shards.write(store, f"verdicts/{number}", all_kept(table)) for number, table in enumerate(tables)]
        yield Corpus(folder, pool, parts, [table["id"].to_pylist() for table in tables], store, raw, verdicts)


def timed(lake: Corpus, **how: Any) -> float:
    """Seconds that dsray takes; what it made is removed, else the next round finds all made."""
    start = time.perf_counter()
    assert build(lake.store, lake.raw, lake.verdicts, **how).counts["kept"] == sum(map(len, lake.parts))
    seconds = time.perf_counter() - start
    shutil.rmtree(lake.folder / "shards")
    return seconds


def build(
    store: Store,
    raw: Sequence[Receipt],
    verdicts: Sequence[Receipt],
    *,
    form: dict[str, Any] = RENDER,
    copies: dict[str, Any] | None = AUGMENT,
) -> Manifest:
    """The stages as a build runs them, between a crawl and a selection that are there; the manifest of the last."""
    said = {"dataset": "bench", "collect": {"site": {"files": {"path": "."}}}, "render": form}
    recipe = model("image").model_validate(said | ({"augment": copies} if copies else {}))
    rows = sum(receipt.rows for receipt in raw)
    work = Work(recipe, store, Progress(lambda done, total, note: None))
    made = {
        "collect": Manifest("collect", 0, "", {}, [], list(raw), balance(rows)),
        "select": Manifest("select", 0, "", {}, [], list(verdicts), balance(rows), {"classes": {"x": {"train": rows}}}),
    }
    for name, stage in STAGES.items():
        if name != "augment" or copies:
            made[name] = stage.run(stage.step(recipe, made), made, work)
    return made["augment" if copies else "gather"]


def kernels(payloads: Sequence[bytes], params: Sequence[dict[str, Any]]) -> int:
    """The same work on the same bytes, and nothing else."""
    rows = 0
    for payload, param in zip(payloads, params, strict=True):
        decoded = image.decode(payload)
        image.measure(decoded)
        rows += bool(image.apply(image.render(decoded, RENDER)[0], param)[0])
    return rows


def main() -> int:
    images, a_shard = (1200, 100) if protocol.quick(__doc__) else (16_000, 2000)
    with corpus(images, a_shard) as lake:
        params = [image.plan(AUGMENT, 7, ids, 0) for ids in lake.ids]

        def bare() -> None:
            assert sum(lake.pool.map(kernels, lake.parts, params)) == images

        ours, theirs = (images / seconds for seconds in protocol.medians(5, partial(timed, lake), bare))
    print(f"{ours:.0f} images/s through three stages, {theirs:.0f} bare; {os.cpu_count()} cores, "
          f"{images // a_shard} shards of {a_shard}")  # fmt: skip
    return protocol.verdict("data_plane", ours, theirs, ours / theirs, AT_LEAST, "images/s")


if __name__ == "__main__":
    sys.exit(main())
