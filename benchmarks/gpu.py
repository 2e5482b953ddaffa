"""`python -m benchmarks.gpu [--record]`: what one NVIDIA GPU makes of R3GAN on CIFAR-10 and of the VAE on MNIST.

Under 15 minutes, without Ray. Every switch of `dsray.models.speed` is turned on after the others, in the product's own
training step. --record adds the tables to benchmarks/RESULTS.md; without a GPU it says so. `--device cpu --quick` runs
small sizes through the same code, without what only CUDA has.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from os import cpu_count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import gpu_rates
from benchmarks.cifar import FOLDER as CIFAR
from benchmarks.cifar import cifar
from benchmarks.mnist import mnist
from dsray.errors import DsrayError
from dsray.metrics import inception, inception_weights
from dsray.metrics.distance import frechet
from dsray.models import draw, loop, r3gan, vae
from dsray.models.speed import Speed

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
State = dict[str, torch.Tensor]
Start = Callable[[Any, Speed], Any]

WORDS = {
    "channels_last": "channels_last",
    "half": "bf16",
    "search": "cuDNN search",
    "fused": "fused Adam",
    "graphs": "CUDA graphs",
}
"""The switches in the order in which they are turned on."""
CUDA_ONLY = ("search", "graphs")
CLASSES = 10

_FEW = 8  # images whose FLOPs are counted


@dataclass(frozen=True)
class Sizes:
    gan: r3gan.Config
    vae: vae.Config
    seconds: float  # of each measurement
    budget: float  # seconds of the training whose FID is measured
    rows: int  # to train on
    fid: int  # rows
    samples: int
    side: int  # of the matrices


FULL = Sizes(
    r3gan.PRESETS["r3gan-32"], replace(vae.PRESETS["quick"], batch=2048), 12.0, 240.0, 50_000, 50_000, 8192, 8192
)
QUICK = Sizes(replace(r3gan.PRESETS["tiny"], half=2), vae.PRESETS["tiny"], 0.2, 3.0, 200, 24, 128, 256)


class Bench:
    """One run: its table grows, and is said, line by line."""

    def __init__(self, sizes: Sizes, device: str) -> None:
        self.sizes, self.device, self.cuda = sizes, device, torch.device(device).type == "cuda"
        name = torch.cuda.get_device_name(device) if self.cuda else "CPU"
        sized = "" if sizes is FULL else " · quick sizes"
        self.lines = [f"## {date.today()} · {name} · torch {torch.__version__}{sized}", ""]
        self.lines += ["| what | | of the matrix products | target |", "|---|---|---|---|"]
        print("\n".join(self.lines), flush=True)
        dtype = torch.bfloat16 if self.cuda else torch.float32
        self.peak = gpu_rates.matrix_products(device, sizes.side, dtype, sizes.seconds / 4)
        self.add(f"matrix products, {str(dtype)[6:]}, {sizes.side} × {sizes.side}", f"{self.peak / 1e12:.3g} TFLOP/s")

    def add(self, what: str, found: str, share: str = "", target: str = "") -> None:
        self.lines.append(f"| {what} | {found} | {share} | {target} |")
        print(self.lines[-1], flush=True)

    def paces(self, switches: Sequence[str]) -> list[tuple[str, Speed]]:
        """(what was turned on last, all that is on); on CPUs without what only CUDA has."""
        found, on = [("everything off", Speed())], {}
        for name in switches:
            if self.cuda or name not in CUDA_ONLY:
                on[name] = True
                found.append((f"+ {WORDS[name]}", Speed(**on)))
        return found

    def training(self, what: str, start: Start, config: Any, switches: Sequence[str], target: int) -> float:
        """Images/s with each switch turned on after the others; returns the last one's."""
        small = start(replace(config, batch=_FEW), Speed())
        cost = gpu_rates.flops(lambda: gpu_rates.steps(small)(0)) / _FEW
        self.add(f"{what}: an image's training", f"{cost / 1e9:.4g} GFLOP")
        goal = f"≥ {target:,} images/s on an H200" if self.sizes is FULL else ""
        speed = 0.0
        for name, pace in self.paces(switches):
            step, warm = gpu_rates.steps(start(config, pace)), gpu_rates.WARM if pace.graphs else 2
            speed = gpu_rates.rate(step, config.batch, self.sizes.seconds, self.device, warm)
            found = f"{speed:,.0f} images/s, {speed * cost / 1e12:.3g} TFLOP/s"
            self.add(f"{what}: training, {name}", found, f"{speed * cost / self.peak:.0%}", goal)
        return speed

    def sampling(self, what: str, config: r3gan.Config, weights: State, switches: Sequence[str]) -> None:
        """Images/s from latents to bytes, both on the host."""
        index_N = np.arange(self.sizes.samples)
        z_NZ = r3gan.latents(config, weights, index_N % CLASSES, index_N, 1)
        for name, pace in self.paces(switches):
            net = r3gan.painter(config, weights, self.device, pace)

            def step(number: int, net: Any = net) -> None:
                draw.paint(net, z_NZ, index_N % CLASSES, index_N, self.device)

            speed = gpu_rates.rate(step, len(index_N), self.sizes.seconds, self.device)
            self.add(f"{what}: sampling, {name}", f"{speed:,.0f} images/s")

    def fid(self, images: Images, config: r3gan.Config, weights: State) -> None:
        """Of rows made by the model against the first training rows, as many."""
        count, what = self.sizes.fid, f"FID of {self.sizes.fid:,} rows after {config.images:,} images"
        try:
            net = inception.loaded(inception_weights.load()).to(self.device)
        except DsrayError as missing:
            self.add(what, f"left out: {missing}")
            return
        index_N = np.arange(count)
        made = draw.sample(r3gan, config, weights, index_N % CLASSES, index_N, 1, self.device)
        score = frechet(self.features(net, made), self.features(net, images[:count]))
        self.add(f"{what}, {self.sizes.budget:.0f} s", f"{score:.2f}")

    def features(self, net: Any, images: Images) -> NDArray[np.float64]:
        """Inception's, in as many threads as there are cores: most of the time goes into resizing."""
        parts = [images[i : i + 256] for i in range(0, len(images), 256)]
        with ThreadPoolExecutor(cpu_count()) as pool:
            found = pool.map(lambda part: inception.features(net, part, device=self.device, batch=256), parts)
            return np.concatenate(list(found)).astype(np.float64)


def measure(sizes: Sizes, device: str, data: Path) -> list[str]:
    """The lines of the table."""
    start, bench = time.perf_counter(), Bench(sizes, device)
    if not bench.cuda:
        bench.add(" and ".join(WORDS[name] for name in WORDS if name in CUDA_ONLY), "left out: only CUDA has them")
    images, labels, real = rows(lambda: cifar("train", data / "cifar10", sizes.rows), (sizes.rows, 32, 32, 3))
    gan = sizes.gan

    def begin(config: r3gan.Config, pace: Speed) -> r3gan.Training:
        return r3gan.start(config, images, labels, CLASSES, 1, device, pace)

    what = f"R3GAN, CIFAR-10, batch {gan.batch}"
    speed = bench.training(what, begin, gan, list(WORDS), 800)
    seen = max(gan.batch, int(speed * sizes.budget))  # schedules end with the budget; so short, nothing is overfitted
    config = replace(gan, images=seen, burn_in=seen, ema_images=seen / 50, augment=0.0)
    weights = loop.train(r3gan.start(config, images, labels, CLASSES, 1, device))
    bench.sampling(what, config, weights, ("channels_last", "half", "graphs"))
    if real:
        bench.fid(images, config, weights)
    else:
        bench.add("FID", f"left out: {data / 'cifar10'} is not there; noise of the same shape was trained on")

    digits, classes, _ = rows(lambda: mnist(data / "mnist")[:2], (sizes.rows, 28, 28, 1))
    what = f"VAE, MNIST, batch {sizes.vae.batch}"
    bench.training(
        what, lambda config, pace: vae.start(config, digits, classes, CLASSES, 1, device, pace), sizes.vae,
        ("half", "fused", "graphs"), 300_000,
    )  # fmt: skip
    bench.add("all of this", f"{time.perf_counter() - start:.0f} s")
    return bench.lines


def rows(read: Callable[[], tuple[Images, Labels]], shape: tuple[int, ...]) -> tuple[Images, Labels, bool]:
    """Images, labels, and whether they are real: else noise of the same shape, which is trained on as fast."""
    try:
        return *read(), True
    except FileNotFoundError:
        return np.random.default_rng(0).integers(0, 256, shape, np.uint8), np.arange(shape[0]) % CLASSES, False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--record", action="store_true", help="add the table to RESULTS.md")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--data", type=Path, default=CIFAR.parent, help="a folder with cifar10/ and mnist/")
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print("There is no NVIDIA GPU here, so nothing was measured; the rest stands.")
        return 0
    lines = measure(QUICK if options.quick else FULL, options.device, options.data)
    if options.record:
        with (Path(__file__).parent / "RESULTS.md").open("a") as file:
            file.write("\n" + "\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
