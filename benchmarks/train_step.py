"""A training step under Ray Train against the same loop without Ray: one worker, one thread, the quick VAE.

Both sides report images/s of the same steps, by the median step after a warm-up; they take turns, each in a process of
its own.
"""

import dataclasses
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np

from benchmarks import protocol

AT_LEAST = 0.98
BATCHES = {True: 60, False: 400}


def steps(count: int, reduce: Any) -> float:
    """Images/s of the median of `count` steps, after a fifth as many to warm up."""
    import torch

    from dsray import models

    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    images, labels = random.integers(0, 256, (2000, 28, 28, 1), np.uint8), random.integers(0, 10, 2000)
    vae = models.architecture("vae")
    training = vae.start(vae.Config(**models.preset("vae", "quick").config), images, labels, 10, 7, "cpu")
    warm = count // 5
    for step in range(warm):
        training.step(step, 0, 1, reduce)
    seconds = []
    for step in range(warm, warm + count):
        start = time.perf_counter()
        training.step(step, 0, 1, reduce)
        seconds.append(time.perf_counter() - start)
    return float(training.batch / statistics.median(seconds))


@dataclasses.dataclass(frozen=True)
class Loop:
    count: int

    def __call__(self, worker: Any) -> None:
        worker.post(steps(self.count, worker.reduce))


def with_ray(count: int) -> float:
    from dsray.engine import training

    heard: list[float] = []
    training.train(Loop(count), name="step", workers=1, gpu=False, hear=heard.append)
    return heard[-1]


def without(count: int) -> float:
    code = f"from benchmarks.train_step import steps; print(steps({count}, lambda x: x))"
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def main() -> int:
    count = BATCHES[protocol.quick(__doc__)]
    from dsray.engine.connect import connected

    with connected(cpus=1):
        ours, bare = protocol.medians(5, lambda: with_ray(count), lambda: without(count))
    print(f"{ours:.0f} images/s under Ray Train, {bare:.0f} without")
    return protocol.verdict("train_step", ours, bare, ours / bare, AT_LEAST, "images/s")


if __name__ == "__main__":
    sys.exit(main())
