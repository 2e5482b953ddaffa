"""R3GAN as published (Huang et al., arXiv:2501.05441): the relativistic pairing loss with R1 and R2 on residual
networks of grouped convolutions without normalisation, for images worth a GPU.

The class enters the generator as an embedding beside the noise, the discriminator as a projection (arXiv:1802.05637).
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsray.models import adaptive, losses, speed
from dsray.models.configs import R3GAN_PRESETS, R3ganConfig
from dsray.models.draw import loaded, normal
from dsray.models.feed import Feed, starting
from dsray.models.flat import Flat, Number, Reduce, named
from dsray.models.loop import alone
from dsray.models.nets import GAIN, Level, linear, seeded
from dsray.models.slopes import PLAIN, Pass, Slopes
from dsray.models.speed import Ahead, Recorded, Speed

Config = R3ganConfig
PRESETS = R3GAN_PRESETS

Shape = tuple[int, int, int]

_BASE = 4  # the smallest side
_WIDEST = 4  # resolutions with all channels
_EXPANSION = 2


class Convolution(nn.Conv2d):
    """At the same size, in the precision of its input; `side` is odd."""

    def __init__(
        self, inputs: int, outputs: int, side: int = 1, groups: int = 1, gain: float = 1.0, bias: bool = False
    ) -> None:
        super().__init__(inputs, outputs, side, padding=side // 2, groups=groups, bias=bias)
        nn.init.normal_(self.weight, std=gain / (inputs // groups * side * side) ** 0.5)
        if bias:
            nn.init.zeros_(self.bias)  # type: ignore[arg-type]  # there is one

    def forward(self, x_BCHW: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x_BCHW.dtype)
        return F.conv2d(x_BCHW, self.weight.to(x_BCHW.dtype), bias, 1, self.padding, 1, self.groups)


class Block(nn.Module):
    """x + 1×1(lrelu(3×3 in groups(lrelu(1×1(x))))), twice as wide inside; the last convolution starts at 0, the others
    are scaled by depth^-1/4 (Fixup, arXiv:1901.09321)."""

    def __init__(self, channels: int, group: int, depth: int) -> None:
        super().__init__()
        inner, gain = _EXPANSION * channels, GAIN * depth**-0.25
        self.widen = Convolution(channels, inner, gain=gain, bias=True)
        self.look = Convolution(inner, inner, 3, inner // group, gain=gain, bias=True)
        self.narrow = Convolution(inner, channels, gain=0.0)

    def forward(self, x: Tensor, how: Pass = PLAIN) -> Tensor:
        hidden = how.bend(how.linear(self.look, how.bend(how.linear(self.widen, x))))
        return x + how.linear(self.narrow, hidden)


def sides(height: int, width: int) -> list[int]:
    """The resolutions, smallest first, of which the last holds the image: (28, 28) → [4, 8, 16, 32]."""
    found = [_BASE]
    while found[-1] < max(height, width):
        found.append(2 * found[-1])
    return found


def widths(width: int, levels: int) -> list[int]:
    """Channels of each resolution, smallest resolution first."""
    return [width >> max(0, level - _WIDEST + 1) for level in range(levels)]


def larger(x_BCHW: Tensor) -> Tensor:
    """Twice the side: pixels between two are their mean (the filter [1, 2, 1] along each axis)."""
    x_BCHW = F.interpolate(x_BCHW, scale_factor=2.0, mode="nearest")
    return F.avg_pool2d(x_BCHW, 2, 1, padding=1, count_include_pad=False)[:, :, 1:, 1:]


def smaller(x_BCHW: Tensor) -> Tensor:
    """Half the side: every second pixel after the filter [1, 2, 1] / 4 along each axis."""
    x_BCHW = F.avg_pool2d(x_BCHW, 2, 1, padding=1, count_include_pad=False)
    return F.avg_pool2d(x_BCHW, 2, 2)


class Trunk(nn.Module):
    """The blocks of all resolutions, smallest first, and the 1×1 convolutions between those of different widths."""

    def __init__(self, config: Config, shape: Shape, pace: Speed, upwards: bool) -> None:
        super().__init__()
        self.sides = sides(*shape[:2])
        self.wide = widths(config.width, len(self.sides))
        depth = config.blocks * len(self.sides)
        self.levels = nn.ModuleList(
            Level(*(Block(w, config.group, depth) for _ in range(config.blocks))) for w in self.wide
        )
        ends = [(a, b) if upwards else (b, a) for a, b in pairwise(self.wide)]
        self.between = nn.ModuleList(Convolution(a, b) if a != b else nn.Identity() for a, b in ends)
        self.pace, self.low = pace, len(self.sides) - config.half

    def laid(self, x_BCHW: Tensor) -> Tensor:
        """In the memory format of the convolutions."""
        return x_BCHW.contiguous(memory_format=torch.channels_last) if self.pace.channels_last else x_BCHW

    def cast(self, x_BCHW: Tensor, level: int) -> Tensor:
        """In the precision of a resolution."""
        return x_BCHW.to(torch.bfloat16 if self.pace.half and level >= self.low else torch.float32)


class Generator(nn.Module):
    """Noise [B, Z] and classes [B] → images [B, C, H, W], about [-1, 1]; no tanh."""

    def __init__(self, config: Config, shape: Shape, classes: int, pace: Speed) -> None:
        super().__init__()
        self.shape = shape
        self.classes = Classes(classes, config.embedding)
        self.trunk = Trunk(config, shape, pace, upwards=True)
        wide = self.trunk.wide
        self.basis = nn.Parameter(torch.randn(wide[0], _BASE, _BASE))
        self.enter = linear(config.latent + config.embedding, wide[0])
        self.leave = Convolution(wide[-1], shape[2])

    def forward(self, z_BZ: Tensor, class_B: Tensor) -> Tensor:
        trunk = self.trunk
        weight_BC = self.enter(torch.cat([z_BZ, self.classes(class_B)], 1))
        x = trunk.laid(weight_BC[:, :, None, None] * self.basis)
        for level, blocks in enumerate(trunk.levels):
            if level:
                x = larger(trunk.between[level - 1](trunk.cast(x, level)))
            x = blocks(trunk.laid(trunk.cast(x, level)))
        top, left, height, width = _window(self.shape, trunk.sides[-1])
        images: Tensor = self.leave(x.float())
        return images[:, :, top : top + height, left : left + width]


class Discriminator(nn.Module):
    """Images [B, C, H, W] and classes [B] → logits [B]: ⟨features, embedding of the class⟩ / √size."""

    def __init__(self, config: Config, shape: Shape, classes: int, pace: Speed) -> None:
        super().__init__()
        self.trunk = Trunk(config, shape, pace, upwards=False)
        wide, side = self.trunk.wide, self.trunk.sides[-1]
        top, left, height, width = _window(shape, side)
        self.pad = (left, side - width - left, top, side - height - top)
        self.enter = Convolution(shape[2], wide[-1])
        self.basis = nn.Conv2d(wide[0], wide[0], _BASE, groups=wide[0], bias=False)
        nn.init.normal_(self.basis.weight, std=1 / _BASE)
        self.leave = linear(wide[0], config.embedding)
        self.classes = Classes(classes, config.embedding)

    def forward(self, images_BCHW: Tensor, class_B: Tensor, how: Pass = PLAIN) -> Tensor:
        trunk, last = self.trunk, len(self.trunk.levels) - 1
        x = F.pad(images_BCHW, self.pad, mode="replicate") if any(self.pad) else images_BCHW
        x = how.linear(self.enter, trunk.laid(x))
        for level in range(last, -1, -1):
            if level < last:
                x = smaller(x)
                if isinstance(trunk.between[level], Convolution):
                    x = how.linear(trunk.between[level], x)
            x = trunk.levels[level](trunk.cast(x, level), how)
        features_BF = how.linear(self.leave, how.linear(self.basis, x.float()).flatten(1))
        return (features_BF * self.classes(class_B)).sum(1) / features_BF.shape[1] ** 0.5  # type: ignore[no-any-return]


class Classes(nn.Module):
    """Classes [B] → embeddings [B, E]. A product, not a look-up, whose slope CUDA sums in any order."""

    def __init__(self, classes: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, size))

    def forward(self, class_B: Tensor) -> Tensor:
        every_K = torch.arange(len(self.weight), device=class_B.device)
        return (class_B[:, None] == every_K).float() @ self.weight


def _window(shape: Shape, side: int) -> tuple[int, int, int, int]:
    """top, left, height and width of the image in the middle of its highest resolution."""
    height, width = shape[:2]
    return (side - height) // 2, (side - width) // 2, height, width


class Dials(NamedTuple):
    """What schedules set, as pure functions of the images seen."""

    step: Number
    rate: Number
    beta2: Number
    gamma: Number
    follow: Number  # how far the average goes towards the weights
    augment: Number


def dials(config: Config, step: int) -> Dials:
    seen = step * config.batch

    def at(start: float, end: float) -> float:
        return losses.cosine(start, end, seen / config.burn_in)

    return Dials(
        step=step,
        rate=at(config.rate_start, config.rate_end),
        beta2=at(config.beta2_start, config.beta2_end),
        gamma=at(config.gamma_start, config.gamma_end),
        follow=1 - 0.5 ** (config.batch / max(1e-9, at(0.0, config.ema_images))),
        augment=at(0.0, config.augment),
    )


class Training:
    """Alternating steps of discriminator and generator; all is a function of (seed, step, place in the batch)."""

    def __init__(self, config: Config, feed: Feed, shape: Shape, classes: int, pace: Speed | None = None) -> None:
        pace = pace or speed.best(feed.device)
        self.config, self.feed, self.shape, self.classes, self.pace = config, feed, shape, classes, pace
        self.batch = config.batch
        self.steps = -(-config.images // config.batch)
        self.generator = seeded(feed.seed, Generator, config, shape, classes, pace).to(feed.device)
        self.discriminator = seeded(feed.seed + 1, Discriminator, config, shape, classes, pace).to(feed.device)
        self.g = Flat(self.generator, 0.0, config.beta2_end, pace.fused)
        self.d = Flat(self.discriminator, 0.0, config.beta2_end, pace.fused)
        self.average_P = self.g.vector_P.clone()
        self.p = torch.zeros((), device=feed.device)
        self.augments = config.augment > 0 or config.augment_target > 0
        self.ahead = Ahead(self.inputs)
        self.recorded = Recorded(lambda *inputs: self.compute(1, alone, *inputs), feed.device, pace.graphs)

    def step(self, step: int, rank: int, world: int, reduce: Reduce) -> dict[str, float]:
        inputs = self.ahead(step, rank, world)
        torch.backends.cudnn.benchmark = self.pace.search
        told = self.recorded(*inputs) if world == 1 else self.compute(world, reduce, *inputs)
        if self.pace.graphs:
            self.ahead.expect(step + 1, rank, world)
        return dict(zip(("d_loss", "r1", "r2", "ahead", "g_loss", "augment"), told.tolist(), strict=True))

    def inputs(self, step: int, rank: int, world: int) -> tuple[Tensor, ...]:
        """Real images, classes, noise, the chance of augmentations (of real and fake images) and the dials."""
        places_B, seed = self.feed.places(step, rank, world), self.feed.seed
        names = ("augment real", "augment fake") if self.augments else ()
        chance = [adaptive.draws(seed, name, places_B) for name in names]
        z_BZ = self.feed.noise(places_B, self.config.latent)  # before anything waits for the device
        return (*self.feed.rows(places_B), z_BZ, *chance, speed.numbers(list(dials(self.config, step))))

    def compute(self, world: int, reduce: Reduce, *inputs: Tensor) -> Tensor:
        """The step on the device, without a word to the host, so that CUDA can record it; the losses [6]."""
        *rows, numbers = inputs
        set_to = Dials(*speed.dialled(numbers))
        parts = list(_parts([x.to(self.feed.device) for x in rows], self.config.at_once))
        p = self.p if self.config.augment_target else set_to.augment
        weight = world / self.batch  # so that the mean over ranks is the mean over the global batch

        both = reduce(_sum(self._d_slope(part, p, set_to.gamma, weight) for part in parts))
        told_d = both[-4:]
        self.d.update(both[:-4], set_to.rate, set_to.step, set_to.beta2)
        both = reduce(_sum(self._g_slope(part, p, weight) for part in parts))
        self.g.update(both[:-1], set_to.rate, set_to.step, set_to.beta2)
        self.average_P.lerp_(self.g.vector_P, set_to.follow)
        told_p = torch.as_tensor(p, dtype=torch.float32, device=both.device).reshape(1).clone()
        if self.config.augment_target:
            adaptive.adapt(self.p, told_d[3], self.config.augment_target, self.batch / self.config.augment_images)
        return torch.cat([told_d, both[-1:], told_p])

    def _d_slope(self, part: "Part", p: Number, gamma: Number, weight: float) -> Tensor:
        """The discriminator's gradient and told losses over some rows [P + 4]."""
        with torch.no_grad():
            fake = self.generator(part.z_BZ, part.class_B)
            both = torch.cat([self.seen(part.real, part.real_BD, p), self.seen(fake, part.fake_BD, p)])
        classes_2B = part.class_B.repeat(2)
        seen = Slopes(lambda x, how: self.discriminator(x, classes_2B, how), both)
        logits_2B = seen.logits_B.requires_grad_()
        real_B, fake_B = logits_2B.chunk(2)
        loss = losses.relativistic_d_loss(real_B, fake_B).sum() * weight
        (slope_2B,) = torch.autograd.grad(loss, logits_2B)
        penalties = (half.square().sum() * weight for half in seen.images_BCHW.chunk(2))  # R1, R2
        ahead = (real_B - fake_B).sign().sum() * weight
        told_T = torch.stack([loss, *penalties, ahead]).detach()
        gradient = seen.gradient(self.d.parameters, slope_2B, gamma * weight)
        return torch.cat([*(g.reshape(-1) for g in gradient), told_T])

    def _g_slope(self, part: "Part", p: Number, weight: float) -> Tensor:
        """The generator's gradient and loss over some rows [P + 1]."""
        with torch.no_grad():
            real_B = self.discriminator(self.seen(part.real, part.real_BD, p), part.class_B)
        fake = self.generator(part.z_BZ, part.class_B)
        fake_B = self.discriminator(self.seen(fake, part.fake_BD, p), part.class_B)
        loss = losses.relativistic_g_loss(real_B, fake_B).sum() * weight
        return self.g.slope(loss, [loss])

    def seen(self, images_BCHW: Tensor, draws_BD: Tensor | None, p: Number) -> Tensor:
        """What the discriminator is shown of images."""
        if draws_BD is None:
            return images_BCHW
        return adaptive.augment(images_BCHW, draws_BD, p, self.config.mirrors, self.config.turns)

    def collapsed(self, told: dict[str, float]) -> bool:
        return losses.speechless(told["d_loss"], told["r2"])

    def state(self) -> dict[str, Tensor]:
        networks = {**self.g.state("generator"), **self.d.state("discriminator")}
        return {**networks, "average": self.average_P, "augment.p": self.p}

    def load(self, state: dict[str, Tensor]) -> None:
        self.g.load("generator", state)
        self.d.load("discriminator", state)
        self.average_P.copy_(state["average"])
        self.p.copy_(state["augment.p"])

    def weights(self) -> dict[str, Tensor]:
        """The averaged generator, and the last discriminator: `judge.`."""
        judge = {f"judge.{name}": tensor for name, tensor in named(self.discriminator, self.d.vector_P).items()}
        shape = torch.tensor([*self.shape, self.classes])
        return {**named(self.generator, self.average_P), **judge, "shape": shape}


class Part(NamedTuple):
    """Some rows of a batch."""

    real: Tensor
    class_B: Tensor
    z_BZ: Tensor
    real_BD: Tensor | None = None
    fake_BD: Tensor | None = None


def _parts(rows: list[Tensor], at_once: int) -> Iterator[Part]:
    for parts in zip(*(torch.split(x, at_once) for x in rows), strict=True):
        yield Part(*parts)


def _sum(terms: Iterator[Tensor]) -> Tensor:
    total = next(terms)
    for term in terms:
        total += term
    return total


start = starting(Training)
latents = normal("r3gan sample")


def painter(config: Config, weights: dict[str, Tensor], device: str, pace: Speed | None = None) -> nn.Module:
    """The network from latents [B, Z] and classes [B] to images, ready to sample."""
    pace = pace or speed.best(device)
    height, width, channels, classes = weights["shape"].tolist()
    net = loaded(Generator(config, (height, width, channels), classes, pace), weights, device)
    return Recorded(net, device, pace.graphs)


def judge(config: Config, weights: dict[str, Tensor], device: str) -> nn.Module:
    """The network from images [B, C, H, W] and classes [B] to logits [B]: the greater, the more real."""
    height, width, channels, classes = weights["shape"].tolist()
    own = {name.removeprefix("judge."): tensor for name, tensor in weights.items() if name.startswith("judge.")}
    return loaded(Discriminator(config, (height, width, channels), classes, speed.best(device)), own, device)
