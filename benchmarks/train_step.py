"""A training step on Ray Train against the same loop without Ray: at least 0.98×.

The GAN of preset `quick` on 28×28 images, one worker, one thread; steps/s by the worker's own clock, from the first step
to the last, news to the driver included. The loop without Ray runs in a process of its own.
"""

import multiprocessing
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

from benchmarks import protocol
from dsray import models
from dsray.engine.connect import connected
from dsray.engine.training import Worker, train

AT_LEAST = 0.98


def steps_per_s(steps: int, reduce: Callable[[Any], Any], post: Callable[[Any], None]) -> float:
    """Trains for so many steps, as the train stage does; saving is left out."""
    from dsray.models import loop

    gan = models.architecture("gan")
    config = gan.Config(**{**models.PRESETS["gan"]["quick"], "images": 64 * steps})
    rng = np.random.default_rng(7)
    images_NHWC = rng.integers(0, 256, (2000, 28, 28, 1), np.uint8)
    training = gan.start(config, images_NHWC, rng.integers(0, 10, 2000), 10, 7, "cpu")
    start = time.perf_counter()
    loop.train(training, reduce=reduce, report=post)
    return steps / (time.perf_counter() - start)


def without_ray(steps: int) -> float:
    import torch

    torch.set_num_threads(1)
    return steps_per_s(steps, lambda x: x, lambda news: None)


def on_ray(steps: int) -> float:
    told: list[float] = []

    def on_worker(worker: Worker) -> None:
        worker.post({"speed": steps_per_s(steps, worker.reduce, worker.post)})

    train(
        on_worker,
        name="bench",
        workers=1,
        gpu=False,
        hear=lambda news: told.extend([news["speed"]] * ("speed" in news)),
    )
    return told[-1]


def main() -> int:
    steps = 40 if protocol.quick(__doc__) else 300
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as pool, connected():
        ours, bare = protocol.medians(
            5, lambda: on_ray(steps), lambda: pool.submit(without_ray, steps).result(timeout=1800)
        )
    print(f"{ours:.2f} steps/s on Ray Train, {bare:.2f} without Ray; {steps} steps of 64 images")
    return protocol.verdict("train_step", ours, bare, ours / bare, AT_LEAST, "steps/s")


if __name__ == "__main__":
    sys.exit(main())
