"""synthesize through the engine against a bare process pool that draws the same rows: forward passes and PNGs.

The model is `gan quick` on digits of 28×28 after a few steps, for speed depends on no weight. dsray runs the stage of a
build: loads the model from a file lake, samples shards, writes Parquet with digest, fsync and receipt. The pool has the
network in memory, runs it on inner batches of the same latents, encodes, and keeps nothing.
"""

import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import protocol
from dsray import models
from dsray.engine.connect import connected
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt
from dsray.lake.store import Store, open_store
from dsray.recipe import model
from dsray.stages import synthesize
from dsray.stages.step import Progress, Step, Work

AT_LEAST = 0.9
SHARDS = {True: 6, False: 40}
STEPS = 3
CLASSES = [str(digit) for digit in range(10)]
PRESET = models.preset("gan", "quick")


class Bench(NamedTuple):
    folder: Path
    pool: ProcessPoolExecutor
    step: Step
    made: dict[str, Manifest]
    work: Work


def trained() -> bytes:
    """The model, hardly trained, as it lies on a lake."""
    import torch
    from safetensors.torch import save

    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    images, labels = random.integers(0, 256, (256, 28, 28, 1), np.uint8), np.arange(256) % 10
    gan = models.architecture("gan")
    training = gan.start(gan.Config(**PRESET.config), images, labels, 10, 7, "cpu")
    for step in range(STEPS):
        training.step(step, 0, 1, lambda x: x)
    return save({name: tensor.contiguous() for name, tensor in training.weights().items()})


@contextmanager
def bench(rows: int) -> Iterator[Bench]:
    """A lake with a model, a pool that was forked before Ray had threads, and a Ray session."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dsray-bench-")))
        pool = stack.enter_context(ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("fork")))
        data = pool.submit(trained).result()  # which forks the pool
        stack.enter_context(connected())
        store: Store = open_store(f"file://{folder}")
        receipt = Receipt("models/bench", store.create("models/bench", data) or "", 0, len(data), {})
        params = {"architecture": PRESET.architecture, "config": PRESET.config, "classes": CLASSES}
        made = {"train gan": Manifest("train", 0, "", params, [], [receipt], {})}
        said = {
            "dataset": "bench",
            "collect": {"site": {"files": {"path": "."}}},
            "synthesize": {"gan": {"rows": rows}},
        }
        recipe = model("image").model_validate(said)
        work = Work(recipe, store, Progress(lambda done, total, note: None))
        yield Bench(folder, pool, synthesize.step(recipe, made, "gan"), made, work)


def timed(lake: Bench, rows: int) -> float:
    """Seconds that dsray takes; what it made is removed, else the next round finds all made."""
    start = time.perf_counter()
    assert synthesize.run(lake.step, lake.made, lake.work).counts["kept"] == rows
    seconds = time.perf_counter() - start
    shutil.rmtree(lake.folder / "shards")
    return seconds


_NETS: dict[str, Any] = {}


def bare(model: str, seed: int, start: int, stop: int) -> int:
    """Rows [start, stop), in a process that keeps the network."""
    import torch
    from safetensors.torch import load_file

    from dsray.kinds import image
    from dsray.models.draw import INNER, to_uint8

    torch.set_num_threads(1)
    gan = models.architecture("gan")
    config = gan.Config(**PRESET.config)
    if model not in _NETS:
        weights = load_file(model)
        _NETS[model] = weights, gan.painter(config, weights, "cpu")
    weights, net = _NETS[model]
    made = 0
    with torch.no_grad():
        for low in range(start, stop, INNER):
            index_B = np.arange(low, min(low + INNER, stop))
            class_B = index_B % len(CLASSES)
            z_BZ = torch.from_numpy(gan.latents(config, weights, class_B, index_B, seed).astype(np.float32))
            made += len(image.from_arrays(to_uint8(net(z_BZ, torch.from_numpy(class_B)))))
    return made


def main() -> int:
    shards = SHARDS[protocol.quick(__doc__)]
    rows, each = shards * synthesize.SHARD_ROWS, synthesize.SHARD_ROWS
    with bench(rows) as lake:
        path, seed = str(lake.folder / "models/bench"), lake.step.params["seed"]
        starts = range(0, rows, each)

        def pooled() -> None:
            jobs = [lake.pool.submit(bare, path, seed, start, start + each) for start in starts]
            assert sum(job.result() for job in jobs) == rows

        ours, theirs = (rows / seconds for seconds in protocol.medians(5, lambda: timed(lake, rows), pooled))
    print(
        f"{ours:.0f} images/s through the stage, {theirs:.0f} bare; {os.cpu_count()} cores, {shards} shards of {each}"
    )
    return protocol.verdict("sampling", ours, theirs, ours / theirs, AT_LEAST, "images/s")


if __name__ == "__main__":
    sys.exit(main())
