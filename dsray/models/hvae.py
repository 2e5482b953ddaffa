"""A hierarchical VAE (VDVAE-lite, after arXiv:2011.10650) whose likelihood is of integers: it reports bits/dim.

A shared path goes from coarse to fine; each block adds a group of latents to it. A group is standard normal a priori:
what the prior's mean and scale would be is learned by the convolutions that bring it in. Its posterior is told the
image by an encoder that went from fine to coarse. Groups are maps: their size grows with the resolution.
Axes: B batch, K components of the likelihood, Z all latents of an image.
"""

from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dsray import rng
from dsray.models import logistic, losses
from dsray.models.configs import HVAE_PRESETS, HvaeConfig
from dsray.models.draw import Places, loaded
from dsray.models.feed import Feed, noise, starting, to_float
from dsray.models.flat import Flat, Reduce, follow, named
from dsray.models.nets import GAIN, SLOPE, Block, conv, linear, seeded, sizes, widths

Config = HvaeConfig
PRESETS = HVAE_PRESETS

Shape = tuple[int, int, int]

_INNER = 64  # images whose bits are counted at once


class Climb(nn.Module):
    """Images [B, C, H, W] → what each resolution says of them, coarsest first."""

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        wide_L = widths(config.width, len(sizes(*shape[:2])))
        depth = config.blocks * len(wide_L)
        self.pad = (0, shape[1] % 2, 0, shape[0] % 2)
        self.enter = conv(4 * shape[2], wide_L[0], gain=1.0)
        self.levels = nn.ModuleList(nn.Sequential(*(Block(w, depth) for _ in range(config.blocks))) for w in wide_L)
        self.narrow = nn.ModuleList(conv(a, b, 1, gain=1.0) for a, b in pairwise(wide_L))

    def forward(self, images: Tensor) -> list[Tensor]:
        x = F.pad(images, self.pad, mode="replicate") if any(self.pad) else images
        x = self.enter(F.pixel_unshuffle(x, 2))
        found = []
        for level, blocks in enumerate(self.levels):
            if level:
                x = self.narrow[level - 1](F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False))
            x = blocks(x)
            found.append(x)
        return found[::-1]


class Group(nn.Module):
    """One step of the shared path: a group of latents [B, latent, h, w] joins it."""

    def __init__(self, channels: int, latent: int, depth: int) -> None:
        super().__init__()
        self.ask = conv(2 * channels, channels)
        self.answer = conv(channels, 2 * latent, gain=0.0)  # at first the posterior is the prior
        self.join = conv(channels + latent, channels)
        self.give = conv(channels, channels, gain=GAIN * depth**-0.5)
        self.block = Block(channels, depth)

    def posterior(self, path: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the group, [B, latent, h, w] each."""
        asked = F.leaky_relu(self.ask(F.leaky_relu(torch.cat([path, seen], 1), SLOPE)), SLOPE)
        mean, log_variance = self.answer(asked).chunk(2, 1)
        return mean, log_variance.clamp(-12.0, 4.0)

    def forward(self, path: Tensor, latent: Tensor) -> Tensor:
        joined = F.leaky_relu(self.join(torch.cat([F.leaky_relu(path, SLOPE), latent], 1)), SLOPE)
        return self.block(path + self.give(joined))  # type: ignore[no-any-return]  # nn.Module is untyped


class Hvae(nn.Module):
    """Standard normal latents [B, Z] and classes [B] → images [B, C, H, W]: the likelihood's mean."""

    def __init__(self, config: Config, shape: Shape, classes: int) -> None:
        super().__init__()
        self.config, self.shape, self.sizes = config, shape, sizes(*shape[:2])[::-1]
        wide_L = widths(config.width, len(self.sizes))[::-1]
        depth, (h, w) = 2 * config.blocks * len(wide_L), self.sizes[0]
        self.climb = Climb(config, shape)
        self.classes = nn.Embedding(classes, config.embedding)
        self.enter = linear(config.embedding, wide_L[0] * h * w)
        self.levels = nn.ModuleList(
            nn.ModuleList(Group(wide, config.latent, depth) for _ in range(config.blocks)) for wide in wide_L
        )
        self.narrow = nn.ModuleList(conv(a, b, 1, gain=1.0) for a, b in pairwise(wide_L))
        self.leave = conv(wide_L[-1], 4 * 3 * config.components * shape[2], gain=0.5)
        with torch.no_grad():  # components must differ, or they stay alike
            apart_K = torch.linspace(-1.0, 1.0, config.components + 2)[1:-1]
            self.leave.bias.view(3, config.components, -1)[1] = apart_K[:, None]  # type: ignore[union-attr]

    def forward(self, z_BZ: Tensor, class_B: Tensor) -> Tensor:
        path, _ = self.down(z_BZ, class_B)
        logit_BK, mean_BK, _ = self.likelihood(path)
        levels = (logit_BK.softmax(1) * mean_BK).sum(1)
        return levels / 127.5 - 1

    def nats(self, images: Tensor, class_B: Tensor, noise_BZ: Tensor) -> tuple[Tensor, Tensor]:
        """-log P(x | z) and the KL of all groups, [B] each; their sum bounds -log P(x). Images in [-1, 1]."""
        path, kl_B = self.down(noise_BZ, class_B, self.climb(images))
        levels = ((images + 1) * 127.5).round()
        log_P = logistic.mixture_log_probability(levels[:, None], *self.likelihood(path))
        return -log_P.flatten(1).sum(1), kl_B

    def down(self, noise_BZ: Tensor, class_B: Tensor, seen: list[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """The shared path at its end, and the KL [B]. Latents are the noise, or draws from the posterior where an image
        was `seen`."""
        noises = iter(torch.split(noise_BZ, self.groups, 1))
        kl_B = torch.zeros_like(noise_BZ[:, 0])
        path = self.enter(self.classes(class_B)).view(len(class_B), -1, *self.sizes[0])
        for level, (groups, (h, w)) in enumerate(zip(self.levels, self.sizes, strict=True)):
            if level:
                path = F.interpolate(self.narrow[level - 1](path), scale_factor=2.0, mode="bilinear")[:, :, :h, :w]
            for group in groups:  # type: ignore[attr-defined]  # a list of modules
                latent = next(noises).view(-1, self.config.latent, h, w)
                if seen is not None:
                    mean, log_variance = group.posterior(path, seen[level])
                    latent = mean + (0.5 * log_variance).exp() * latent
                    kl_B = kl_B + losses.kl_to_standard_normal(mean, log_variance).flatten(1).sum(1)
                path = group(path, latent)
        return path, kl_B

    def likelihood(self, path: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, means and log scales of the mixture, in grey levels, [B, K, C, H, W] each."""
        height, width, channels = self.shape
        out = F.pixel_shuffle(self.leave(F.leaky_relu(path, SLOPE)), 2)[:, :, :height, :width]
        logit, mean, log_scale = out.view(len(out), 3, self.config.components, channels, height, width).unbind(1)
        return logit, (mean + 1) * 127.5, (log_scale + 3).clamp(-4.0, 6.0)

    @property
    def groups(self) -> list[int]:
        """Latents of each group, in the order of the path."""
        return [self.config.latent * h * w for h, w in self.sizes for _ in range(self.config.blocks)]


class Training:
    """Steps of the negative ELBO; all is a function of (seed, step, place in the batch)."""

    def __init__(self, config: Config, feed: Feed, shape: Shape, classes: int) -> None:
        self.config, self.feed, self.shape, self.classes = config, feed, shape, classes
        self.batch = config.batch
        self.steps = -(-config.images // config.batch)
        self.net = seeded(feed.seed, Hvae, config, shape, classes).to(feed.device)
        self.flat = Flat(self.net, 0.9, config.beta2)
        self.average_P = self.flat.vector_P.clone()

    def step(self, step: int, rank: int, world: int, reduce: Reduce) -> dict[str, float]:
        config, share = self.config, step / self.steps
        places_B = self.feed.places(step, rank, world)
        real, class_B = self.feed.rows(places_B)
        weight = world / self.batch  # so that the mean over ranks is the mean over the global batch
        nll_B, kl_B = self.net.nats(real, class_B, self.feed.noise(places_B, sum(self.net.groups)))
        nll, kl = nll_B.sum() * weight, kl_B.sum() * weight
        loss = nll + min(1.0, share / config.warm_up) * kl
        gradient_P, (told_nll, told_kl) = self.flat.gradient(loss, [nll, kl], reduce)
        gradient_P = gradient_P * (config.clip / gradient_P.norm()).clamp_max(1.0)
        self.flat.update(gradient_P, losses.cosine(config.rate_start, config.rate_end, share), step)
        follow(self.average_P, self.flat.vector_P, self.batch, config.ema_images, share)
        numbers = real[0].numel()
        return {"bits_per_dim": logistic.bits(told_nll + told_kl, numbers), "kl_bits": logistic.bits(told_kl, numbers)}

    def state(self) -> dict[str, Tensor]:
        return {**self.flat.state("net"), "average": self.average_P}

    def load(self, state: dict[str, Tensor]) -> None:
        self.flat.load("net", state)
        self.average_P.copy_(state["average"])

    def weights(self) -> dict[str, Tensor]:
        """The averaged network: with its encoder, for `bits_per_dim`."""
        return {**named(self.net, self.average_P), "shape": torch.tensor([*self.shape, self.classes])}


start = starting(Training)


@torch.no_grad()
def bits_per_dim(
    config: Config,
    weights: dict[str, Tensor],
    images_NHWC: NDArray[np.uint8],
    labels_N: Places,
    seed: int,
    device: str = "cpu",
) -> float:
    """The ELBO's bound on -log₂ P(x | class) a number, from above, averaged over the rows; one keyed draw each."""
    net = painter(config, weights, device)
    assert isinstance(net, Hvae)
    total = 0.0
    for start in range(0, len(images_NHWC), _INNER):
        rows = np.arange(start, min(start + _INNER, len(images_NHWC)))
        real = to_float(torch.from_numpy(images_NHWC[rows].transpose(0, 3, 1, 2)).to(device))
        class_B = torch.from_numpy(labels_N[rows]).to(device)
        nll_B, kl_B = net.nats(real, class_B, noise(seed, "hvae bits", rows, sum(net.groups), device))
        total += float((nll_B + kl_B).double().sum())
    return logistic.bits(total / len(images_NHWC), int(np.prod(images_NHWC.shape[1:])))


def latents(
    config: Config, weights: dict[str, Tensor], labels_N: Places, indices_N: Places, seed: int, truncation: float = 1.0
) -> NDArray[np.float64]:
    """[N, Z] standard normal, keyed by seed and index, times `truncation`."""
    height, width, _, _ = weights["shape"].tolist()
    count = sum(config.latent * h * w * config.blocks for h, w in sizes(height, width))
    return truncation * rng.normal(seed, "hvae sample", indices_N.astype(np.uint64), draws=count)


def painter(config: Config, weights: dict[str, Tensor], device: str) -> nn.Module:
    """The network from latents [B, Z] and classes [B] to images, ready to sample."""
    height, width, channels, classes = weights["shape"].tolist()
    return loaded(Hvae(config, (height, width, channels), classes), weights, device)
