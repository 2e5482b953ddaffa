"""DCGAN (Radford et al. 2015, arXiv:1511.06434), trained with the non-saturating loss (Goodfellow et al. 2014).

Strided convolutions with batch normalisation; the class enters both networks as its one-hot code (arXiv:1411.1784).
The statistics are those of the global batch, on any number of workers.
"""

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsray.models import losses
from dsray.models.configs import DCGAN_PRESETS, DcganConfig
from dsray.models.draw import loaded, normal
from dsray.models.feed import Feed, starting
from dsray.models.flat import Flat, Reduce, named
from dsray.models.nets import SLOPE, channels_last, seeded, sizes, widths

Config = DcganConfig
PRESETS = DCGAN_PRESETS

Shape = tuple[int, int, int]

STD = 0.02  # of the first weights, as in the paper
MOMENTUM = 0.1


class Shared(torch.autograd.Function):
    """The mean over all workers: of values on the way forth, of slopes on the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, reduce: Reduce) -> Tensor:
        ctx.reduce = reduce
        return reduce(x.clone())

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None]:
        return ctx.reduce(slopes[0].clone()), None


class BatchNorm(nn.Module):
    """x [B, C, H, W] by the global batch's mean and variance in training, by their running averages afterwards."""

    mean_C: Tensor
    variance_C: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(1 + STD * torch.randn(channels))
        self.shift = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean_C", torch.zeros(channels))
        self.register_buffer("variance_C", torch.ones(channels))
        self.company: tuple[Reduce, int] | None = None  # all workers, when there are others

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.company is None:
            return F.batch_norm(x, self.mean_C, self.variance_C, self.scale, self.shift, self.training, MOMENTUM)
        reduce, world = self.company
        x_CN = x.transpose(0, 1).flatten(1)
        told = _shared(torch.cat([x_CN.sum(1), x.new_full((1,), x_CN.shape[1])]), reduce)
        mean_C, count = told[:-1] / told[-1], told[-1].detach()
        centred_CN = x_CN - mean_C[:, None]
        variance_C = _shared(centred_CN.square().sum(1), reduce) / count
        with torch.no_grad():
            self.mean_C.lerp_(mean_C, MOMENTUM)
            self.variance_C.lerp_(variance_C * (count * world / (count * world - 1)), MOMENTUM)
        normal_CN = centred_CN * ((variance_C + 1e-5).rsqrt() * self.scale)[:, None] + self.shift[:, None]
        return normal_CN.view(x.shape[1], x.shape[0], *x.shape[2:]).transpose(0, 1)


class Generator(nn.Module):
    """Noise [B, Z] and classes [B] → images [B, C, H, W] in [-1, 1]."""

    def __init__(self, config: Config, shape: Shape, classes: int) -> None:
        super().__init__()
        self.shape, self.classes = shape, classes
        self.sizes = sizes(shape[0], shape[1])[::-1]
        wide_L = widths(config.width, len(self.sizes))[::-1]
        self.enter = nn.Linear(config.latent + classes, wide_L[0] * self.sizes[0][0] * self.sizes[0][1], bias=False)
        self.norms = nn.ModuleList(BatchNorm(w) for w in wide_L)
        self.grow = nn.ModuleList(nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False) for a, b in pairwise(wide_L))
        self.grow.append(nn.ConvTranspose2d(wide_L[-1], shape[2], 4, 2, 1))
        _small(self)

    def forward(self, z_BZ: Tensor, class_B: Tensor) -> Tensor:
        code_BK = F.one_hot(class_B, self.classes).to(z_BZ)
        x = channels_last(self.enter(torch.cat([z_BZ, code_BK], 1)).view(len(z_BZ), -1, *self.sizes[0]))
        for norm, grow, (height, width) in zip(self.norms, self.grow, [*self.sizes[1:], self.shape[:2]], strict=True):
            x = grow(F.relu(norm(x)))[:, :, :height, :width]
        return x.tanh()


class Discriminator(nn.Module):
    """Images [B, C, H, W] and classes [B], as planes of 0 and 1 → logits [B]. Neither end is normalised."""

    def __init__(self, config: Config, shape: Shape, classes: int) -> None:
        super().__init__()
        self.classes = classes
        below = sizes(shape[0], shape[1])
        wide_L = widths(config.width, len(below))
        self.enter = nn.Conv2d(shape[2] + classes, wide_L[0], 4, 2, 1)
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1, bias=False) for a, b in pairwise(wide_L))
        self.norms = nn.ModuleList(BatchNorm(w) for w in wide_L[1:])
        self.leave = nn.Linear(wide_L[-1] * below[-1][0] * below[-1][1], 1)
        _small(self)

    def forward(self, images_BCHW: Tensor, class_B: Tensor) -> Tensor:
        code_BK = F.one_hot(class_B, self.classes).to(images_BCHW)
        planes_BKHW = code_BK[:, :, None, None].expand(-1, -1, *images_BCHW.shape[2:])
        x = F.leaky_relu(self.enter(_even(channels_last(torch.cat([images_BCHW, planes_BKHW], 1)))), SLOPE)
        for shrink, norm in zip(self.shrink, self.norms, strict=True):
            x = F.leaky_relu(norm(shrink(_even(x))), SLOPE)
        return self.leave(x.flatten(1))[:, 0]  # type: ignore[no-any-return]  # nn.Module is untyped


class Training:
    """Alternating steps of discriminator and generator; all is a function of (seed, step, place in the batch)."""

    def __init__(self, config: Config, feed: Feed, shape: Shape, classes: int) -> None:
        self.config, self.feed, self.shape, self.classes = config, feed, shape, classes
        self.batch = config.batch
        self.steps = -(-config.images // config.batch)
        self.generator = seeded(feed.seed, Generator, config, shape, classes).to(feed.device)
        self.discriminator = seeded(feed.seed + 1, Discriminator, config, shape, classes).to(feed.device)
        self.g = Flat(self.generator, config.beta1, config.beta2)
        self.d = Flat(self.discriminator, config.beta1, config.beta2)

    def step(self, step: int, rank: int, world: int, reduce: Reduce) -> dict[str, float]:
        config = self.config
        for module in (*self.generator.modules(), *self.discriminator.modules()):
            if isinstance(module, BatchNorm):
                module.company = (reduce, world) if world > 1 else None
        places_B = self.feed.places(step, rank, world)
        real, class_B = self.feed.rows(places_B)
        weight = world / self.batch  # so that the mean over ranks is the mean over the global batch
        rate = losses.cosine(config.rate_start, config.rate_end, step / self.steps)

        fake = self.generator(self.feed.noise(places_B, config.latent), class_B)
        # each kind in a batch of its own, as is usual: in a common one each would be seen in the other's statistics
        real_B, fake_B = self.discriminator(real, class_B), self.discriminator(fake.detach(), class_B)
        loss_d = losses.classic_d_loss(real_B, fake_B).sum() * weight
        gradient_d, told_d = self.d.gradient(loss_d, [loss_d], reduce)
        self.d.update(gradient_d, rate, step)

        loss_g = losses.non_saturating_g_loss(self.discriminator(fake, class_B)).sum() * weight
        gradient_g, told_g = self.g.gradient(loss_g, [loss_g], reduce)
        self.g.update(gradient_g, rate, step)
        return dict(zip(("d_loss", "g_loss"), told_d + told_g, strict=True))

    def state(self) -> dict[str, Tensor]:
        return {**self.g.state("generator"), **self.d.state("discriminator"), **self._statistics()}

    def load(self, state: dict[str, Tensor]) -> None:
        self.g.load("generator", state)
        self.d.load("discriminator", state)
        for name, mine in self._statistics().items():
            mine.copy_(state[name])

    def weights(self) -> dict[str, Tensor]:
        statistics = {name: buffer.clone() for name, buffer in self.generator.named_buffers()}
        shape = torch.tensor([*self.shape, self.classes])
        return {**named(self.generator, self.g.vector_P), **statistics, "shape": shape}

    def _statistics(self) -> dict[str, Tensor]:
        """The running averages of both networks."""
        nets = {"generator": self.generator, "discriminator": self.discriminator}
        return {
            f"{net} {name.replace('.', ' ')}": buffer
            for net, module in nets.items()
            for name, buffer in module.named_buffers()
        }


start = starting(Training)
latents = normal("dcgan sample")


def painter(config: Config, weights: dict[str, Tensor], device: str) -> nn.Module:
    """The network from latents [B, Z] and classes [B] to images, ready to sample: by the running averages."""
    height, width, channels, classes = weights["shape"].tolist()
    return loaded(Generator(config, (height, width, channels), classes), weights, device)


def _shared(x: Tensor, reduce: Reduce) -> Tensor:
    return Shared.apply(x, reduce)  # type: ignore[no-any-return,no-untyped-call]


def _small(net: nn.Module) -> None:
    """Weights as the paper draws them; biases 0."""
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, std=STD)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _even(x_BCHW: Tensor) -> Tensor:
    """Odd sides lengthened by repeating the last row or column: halves are rounded up."""
    height, width = x_BCHW.shape[2:]
    return F.pad(x_BCHW, (0, width % 2, 0, height % 2), mode="replicate") if height % 2 or width % 2 else x_BCHW
