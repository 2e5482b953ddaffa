"""Restoration: noise, holes and lost detail are taken out of images by a network that was shown pairs of both kinds.

One small residual U-net a task (after DnCNN, arXiv:1608.03981), on pairs made by a keyed corruption of clean images.
It is the mean of a Gaussian with the batch's optimal σ (arXiv:2006.13202): the decoder of a σ-VAE without latents, so
no KL. Such a network tends to the mean of all clean images that a corrupt one may come from (arXiv:1803.04189).

`denoise`, `inpaint` and `superresolve` are steps for a recipe's `render.own`, with the weights as a file.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dsray import rng
from dsray.errors import RecipeError
from dsray.models import losses
from dsray.models.draw import to_uint8
from dsray.models.feed import Feed, noise, to_float
from dsray.models.flat import Flat, Reduce, follow, named
from dsray.models.nets import SLOPE, Block, conv, seeded

Task = Literal["denoise", "inpaint", "superresolve"]
Pixels = NDArray[np.uint8]

TASKS: tuple[Task, ...] = ("denoise", "inpaint", "superresolve")

_LEAST_VARIANCE = float(np.exp(-12.0))  # log σ ≥ -6, as in the σ-VAE's paper


@dataclass(frozen=True)
class Config:
    """A restorer of one task."""

    task: Task
    images: int = 60_000  # seen in the whole training
    batch: int = 32
    width: int = 32
    blocks: int = 1  # residual blocks a stage, of three
    noise_low: float = 5.0  # standard deviation in grey levels; each image has its own
    noise_high: float = 75.0
    hole: float = 0.5  # greatest share of a side that a hole has
    rate_start: float = 2e-3
    rate_end: float = 5e-5
    beta2: float = 0.99
    ema_images: float = 2000.0


class Restorer(nn.Module):
    """Corrupt images [B, C, H, W] and what may change [B, 1, H, W], 0 or 1 → restored images; at first unchanged."""

    def __init__(self, channels: int, width: int, blocks: int) -> None:
        super().__init__()
        self.enter = conv(4 * (channels + 1), width, gain=1.0)
        self.fine, self.coarse, self.last = (
            nn.Sequential(*(Block(wide, 3 * blocks) for _ in range(blocks))) for wide in (width, 2 * width, width)
        )
        self.down, self.up = conv(width, 2 * width, 1, gain=1.0), conv(2 * width, width, 1, gain=1.0)
        self.leave = conv(width, 4 * channels, gain=0.0)

    def forward(self, given: Tensor, open: Tensor) -> Tensor:
        height, width = given.shape[2:]
        x = F.pad(torch.cat([given, open], 1), (0, -width % 4, 0, -height % 4), mode="replicate")
        fine = self.fine(self.enter(F.pixel_unshuffle(x, 2)))
        coarse = self.coarse(self.down(F.avg_pool2d(fine, 2)))
        x = self.last(fine + F.interpolate(self.up(coarse), scale_factor=2.0, mode="bilinear"))
        change = F.pixel_shuffle(self.leave(F.leaky_relu(x, SLOPE)), 2)[:, :, :height, :width]
        return given + open * change


def corrupted(config: Config, clean: Tensor, places_B: NDArray[np.int64], seed: int) -> tuple[Tensor, Tensor]:
    """Images [-1, 1] → (corrupt ones, in whole grey levels, and what may change [B, 1, H, W]); keyed by place."""
    height, width = clean.shape[2:]
    anywhere = torch.ones_like(clean[:, :1])
    if config.task == "denoise":
        low, high = config.noise_low / 127.5, config.noise_high / 127.5
        share_B = torch.from_numpy(rng.uniform(seed, "restore level", places_B.astype(np.uint64))[:, 0]).to(clean)
        grain = noise(seed, "restore noise", places_B, clean[0].numel(), str(clean.device)).view(clean.shape)
        return _whole(clean + (low + (high - low) * share_B).view(-1, 1, 1, 1) * grain), anywhere
    if config.task == "inpaint":
        open = torch.zeros_like(anywhere)
        for one, (u, v, x, y) in enumerate(rng.uniform(seed, "restore hole", places_B.astype(np.uint64), draws=4)):
            h, w = (max(1, round(share * config.hole * side)) for share, side in ((u, height), (v, width)))
            top, left = int(y * (height - h + 1)), int(x * (width - w + 1))
            open[one, :, top : top + h, left : left + w] = 1
        return clean * (1 - open), open
    small = F.interpolate(clean, size=(-(-height // 2), -(-width // 2)), mode="bicubic", antialias=True)
    return _whole(F.interpolate(_whole(small), size=(height, width), mode="bicubic", antialias=True)), anywhere


class Training:
    """Steps on pairs; all is a function of (seed, step, place in the batch). Goes into `loop.train`."""

    def __init__(self, config: Config, feed: Feed) -> None:
        self.config, self.feed = config, feed
        self.batch = config.batch
        self.steps = -(-config.images // config.batch)
        self.channels = feed.images_NCHW.shape[1]
        numbers = (self.channels, config.width, config.blocks)
        self.net = seeded(feed.seed, Restorer, *numbers).to(feed.device)
        self.flat = Flat(self.net, 0.9, config.beta2)
        self.average_P = self.flat.vector_P.clone()

    def step(self, step: int, rank: int, world: int, reduce: Reduce) -> dict[str, float]:
        config, share = self.config, step / self.steps
        places_B = self.feed.places(step, rank, world)
        clean, _ = self.feed.rows(places_B)
        given, open = corrupted(config, clean, places_B, self.feed.seed)
        error = (clean - self.net(given, open)) * open
        sums = reduce(torch.stack([error.detach().square().sum(), open.sum() * self.channels]))
        variance = (sums[0] / sums[1]).clamp_min(_LEAST_VARIANCE)  # of the global batch: every rank must see the same
        nll = (losses.gaussian_nll(error, variance) * open).sum() * world / self.batch
        gradient_P, (told,) = self.flat.gradient(nll, [nll], reduce)
        self.flat.update(gradient_P, losses.cosine(config.rate_start, config.rate_end, share), step)
        follow(self.average_P, self.flat.vector_P, self.batch, config.ema_images, share)
        return {"nll": told, "psnr": float(10 * torch.log10(4 / variance))}

    def state(self) -> dict[str, Tensor]:
        return {**self.flat.state("net"), "average": self.average_P}

    def load(self, state: dict[str, Tensor]) -> None:
        self.flat.load("net", state)
        self.average_P.copy_(state["average"])

    def weights(self) -> dict[str, Tensor]:
        """The averaged network, and what it is for."""
        about = [TASKS.index(self.config.task), self.channels, self.config.width, self.config.blocks]
        return {**named(self.net, self.average_P), "about": torch.tensor(about)}


def start(config: Config, images_NHWC: Pixels, seed: int, device: str = "cpu") -> Training:
    """A training before its first step, on clean images, uint8 of one size."""
    return Training(config, Feed(images_NHWC, np.zeros(len(images_NHWC), np.int64), config.batch, seed, device))


def denoise(pixels_HWC: Pixels, weights: bytes) -> Pixels:
    """The image without its noise. `weights`: a safetensors file of a denoiser. Raises RecipeError for another."""
    return _restored("denoise", pixels_HWC, weights, np.ones(pixels_HWC.shape[:2], np.float32))


def inpaint(pixels_HWC: Pixels, weights: bytes, hole: list[int]) -> Pixels:
    """The image with its hole (left, top, right, bottom in pixels) filled; all else stays as it is."""
    left, top, right, bottom = hole
    open_HW = np.zeros(pixels_HWC.shape[:2], np.float32)
    open_HW[top:bottom, left:right] = 1
    return np.where(open_HW[:, :, None] > 0, _restored("inpaint", pixels_HWC, weights, open_HW), pixels_HWC)


def superresolve(pixels_HWC: Pixels, weights: bytes) -> Pixels:
    """An image that was enlarged twofold (bicubic, as `render` does it) with the detail that it should have."""
    return _restored("superresolve", pixels_HWC, weights, np.ones(pixels_HWC.shape[:2], np.float32))


@torch.no_grad()
def _restored(task: Task, pixels_HWC: Pixels, weights: bytes, open_HW: NDArray[np.float32]) -> Pixels:
    """One image at a time: what it becomes depends on nothing else."""
    net, (trained_for, channels) = _net(weights)
    if (trained_for, channels) != (task, pixels_HWC.shape[2]):
        raise RecipeError(
            f"The weights are for {trained_for} with {channels} channels, not {task} with {pixels_HWC.shape[2]}.",
            "Name the file that was trained for this step and `render.mode`.",
        )
    given = to_float(torch.from_numpy(pixels_HWC.transpose(2, 0, 1).copy()))
    open = torch.from_numpy(open_HW)[None]
    given = given * (1 - open) if task == "inpaint" else given
    restored: Pixels = to_uint8(net(given[None], open[None]))[0]
    return restored


@lru_cache(maxsize=4)
def _net(weights: bytes) -> tuple[Any, tuple[Task, int]]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    torch.set_num_threads(1)
    try:
        tensors = load(weights)
        task, *numbers = tensors.pop("about").tolist()
        net = Restorer(*numbers)
        net.load_state_dict(tensors)
    except (SafetensorError, KeyError, RuntimeError) as error:
        raise RecipeError(
            "The file of weights holds no restorer.", "Train one: docs/generative.md, Restoration."
        ) from error
    return net.eval(), (TASKS[task], numbers[0])


def _whole(images: Tensor) -> Tensor:
    """[-1, 1] clipped and rounded to the 256 levels that a pixel can have."""
    return ((images + 1) * 127.5).round().clamp(0, 255) / 127.5 - 1
