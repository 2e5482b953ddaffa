"""A conditional GAN: relativistic pairing loss with R1 and R2 on norm-free residual networks (R3GAN, arXiv:2501.05441).

L_D = E softplus(D(G(z)) - D(x)) + γ/2 E‖∇D(x)‖² + γ/2 E‖∇D(G(z))‖², L_G = E softplus(D(x) - D(G(z))), x and G(z) of one
class. It enters the generator as an embedding beside the noise, the discriminator as a projection (arXiv:1802.05637).
What samples is the running average of the generator (arXiv:1710.10196); schedules depend on the images seen alone.
"""

import torch
from torch import Tensor, nn

from dsray.models import losses
from dsray.models.configs import GAN_PRESETS, GanConfig
from dsray.models.draw import loaded, normal
from dsray.models.feed import Feed, starting
from dsray.models.flat import Flat, Reduce, averaged, follow, named
from dsray.models.nets import Painter, Reader, seeded
from dsray.models.slopes import PLAIN, Pass, Slopes

Config = GanConfig
PRESETS = GAN_PRESETS

Shape = tuple[int, int, int]


class Generator(nn.Module):
    """Noise [B, Z] and classes [B] → images [B, C, H, W], about [-1, 1]; no tanh."""

    def __init__(self, config: Config, shape: Shape, classes: int) -> None:
        super().__init__()
        self.classes = nn.Embedding(classes, config.embedding)
        self.paint = Painter(shape, config.width, config.blocks, config.latent + config.embedding)

    def forward(self, z_BZ: Tensor, class_B: Tensor) -> Tensor:
        return self.paint(torch.cat([z_BZ, self.classes(class_B)], 1))  # type: ignore[no-any-return]  # nn.Module is untyped


class Discriminator(nn.Module):
    """Images [B, C, H, W] and classes [B] → logits [B]: ⟨features, embedding of the class⟩ / √size."""

    def __init__(self, config: Config, shape: Shape, classes: int) -> None:
        super().__init__()
        self.read = Reader(shape, config.width, config.blocks, 2 * config.embedding)
        self.classes = nn.Embedding(classes, 2 * config.embedding)

    def forward(self, images_BCHW: Tensor, class_B: Tensor, how: Pass = PLAIN) -> Tensor:
        features_BF, named_BF = self.read(images_BCHW, how), self.classes(class_B)
        return (features_BF * named_BF).sum(1) / features_BF.shape[1] ** 0.5  # type: ignore[no-any-return]


class Training:
    """Alternating steps of discriminator and generator; all is a function of (seed, step, place in the batch)."""

    def __init__(self, config: Config, feed: Feed, shape: Shape, classes: int) -> None:
        self.config, self.feed, self.shape, self.classes = config, feed, shape, classes
        self.batch = config.batch
        self.steps = -(-config.images // config.batch)
        self.generator = seeded(feed.seed, Generator, config, shape, classes).to(feed.device)
        self.discriminator = seeded(feed.seed + 1, Discriminator, config, shape, classes).to(feed.device)
        self.g = Flat(self.generator, 0.0, config.beta2)
        self.d = Flat(self.discriminator, 0.0, config.beta2)
        self.average_P = self.g.vector_P.clone()

    def step(self, step: int, rank: int, world: int, reduce: Reduce) -> dict[str, float]:
        config, share = self.config, step / self.steps
        places_B = self.feed.places(step, rank, world)
        real, class_B = self.feed.rows(places_B)
        weight = world / self.batch  # so that the mean over ranks is the mean over the global batch
        rate = losses.cosine(config.rate_start, config.rate_end, share / config.burn_in)
        gamma = losses.cosine(config.gamma_start, config.gamma_end, share / config.burn_in)

        fake = self.generator(self.feed.noise(places_B, config.latent), class_B)
        classes_2B = class_B.repeat(2)
        seen = Slopes(lambda x, how: self.discriminator(x, classes_2B, how), torch.cat([real, fake]))
        logits_2B = seen.logits_B.requires_grad_()
        loss_d = losses.relativistic_d_loss(*logits_2B.chunk(2)).sum() * weight
        penalties = [half.square().sum() * weight for half in seen.images_BCHW.chunk(2)]  # R1, R2
        (slope_2B,) = torch.autograd.grad(loss_d, logits_2B)
        gradients = seen.gradient(self.d.parameters, slope_2B, gamma * weight)
        gradient_d, told_d = averaged(gradients, [loss_d, *penalties], reduce)
        self.d.update(gradient_d, rate, step)

        with torch.no_grad():
            real_B = self.discriminator(real, class_B)
        loss_g = losses.relativistic_g_loss(real_B, self.discriminator(fake, class_B)).sum() * weight
        gradient_g, told_g = self.g.gradient(loss_g, [loss_g], reduce)
        self.g.update(gradient_g, rate, step)
        follow(self.average_P, self.g.vector_P, self.batch, config.ema_images, share)
        return dict(zip(("d_loss", "r1", "r2", "g_loss"), told_d + told_g, strict=True))

    def collapsed(self, told: dict[str, float]) -> bool:
        return losses.speechless(told["d_loss"], told["r2"])

    def state(self) -> dict[str, Tensor]:
        return {**self.g.state("generator"), **self.d.state("discriminator"), "average": self.average_P}

    def load(self, state: dict[str, Tensor]) -> None:
        self.g.load("generator", state)
        self.d.load("discriminator", state)
        self.average_P.copy_(state["average"])

    def weights(self) -> dict[str, Tensor]:
        """The averaged generator, and the last discriminator: `judge.`."""
        judge = {f"judge.{name}": tensor for name, tensor in named(self.discriminator, self.d.vector_P).items()}
        shape = torch.tensor([*self.shape, self.classes])
        return {**named(self.generator, self.average_P), **judge, "shape": shape}


start = starting(Training)
latents = normal("gan sample")


def painter(config: Config, weights: dict[str, Tensor], device: str) -> nn.Module:
    """The network from latents [B, Z] and classes [B] to images, ready to sample."""
    height, width, channels, classes = weights["shape"].tolist()
    return loaded(Generator(config, (height, width, channels), classes), weights, device)


def judge(config: Config, weights: dict[str, Tensor], device: str) -> nn.Module:
    """The network from images [B, C, H, W] and classes [B] to logits [B]: the greater, the more real."""
    height, width, channels, classes = weights["shape"].tolist()
    own = {name.removeprefix("judge."): tensor for name, tensor in weights.items() if name.startswith("judge.")}
    return loaded(Discriminator(config, (height, width, channels), classes), own, device)
