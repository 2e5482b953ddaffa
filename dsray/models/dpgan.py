"""A private GAN: DP-SGD (Abadi et al., arXiv:1607.00133) on the discriminator, by Opacus; the generator sees only that.

Hinge loss (arXiv:1705.02894), for a relativistic one would pair real rows with each other's gradients; many steps of
the discriminator for one of the generator (Bie et al., arXiv:2302.02936). Real rows are drawn independently
(Poisson), their gradients clipped one by one; those of generated rows are public. Needs the extra `dp`.
"""

import hashlib
import warnings
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsray.errors import DsrayError
from dsray.models import losses
from dsray.models.configs import DPGAN_PRESETS, DpganConfig, GanConfig
from dsray.models.draw import loaded, normal
from dsray.models.feed import Feed, starting, to_float
from dsray.models.flat import Flat, Reduce, follow, named
from dsray.models.gan import Discriminator, Generator
from dsray.models.nets import seeded
from dsray.models.noise import normals, secret, uniforms

Config = DpganConfig
PRESETS = DPGAN_PRESETS

Shape = tuple[int, int, int]

_PART = 64  # per-image gradients that are held at once


class Training:
    """Steps of the discriminator, some followed by one of the generator; what is drawn is keyed by a secret."""

    once = True  # a step that was undone would have spent privacy all the same

    def __init__(self, config: Config, feed: Feed, shape: Shape, classes: int) -> None:
        rows = len(feed.labels_N)
        if config.delta * rows >= 1:
            raise DsrayError(
                f"A delta of {config.delta:g} protects nobody among {rows} rows.", "Give a delta well below 1 / rows."
            )
        self.config, self.feed, self.shape, self.classes = config, feed, shape, classes
        self.batch = config.batch
        self.steps = -(-config.images // config.batch)
        self.rate = min(1.0, config.batch / rows)  # a row's chance to be drawn
        nets = _nets(config)
        self.generator = seeded(feed.seed, Generator, nets, shape, classes).to(feed.device)
        self.discriminator = seeded(feed.seed + 1, Discriminator, nets, shape, classes).to(feed.device)
        self.g = Flat(self.generator, 0.0, config.beta2)
        self.d = Flat(self.discriminator, 0.0, config.beta2)
        self.average_P = self.g.vector_P.clone()
        opacus = _opacus()
        self.sigma = _sigma(config.epsilon, config.delta, self.rate, self.steps)
        self.accountant = opacus.accountants.PRVAccountant()
        twin = Discriminator(nets, shape, classes).to(feed.device)  # the same numbers; only its calls are kept by row
        for mine, its in zip(self.d.parameters, twin.parameters(), strict=True):
            its.data = mine.data
        # Opacus' own rule for convolutions takes inputs for contiguous, which ours are not; torch.func doesn't
        self.each = opacus.GradSampleModule(twin, loss_reduction="sum", force_functorch=True)
        self.key = secret()
        self.about = _digest(config, feed)
        self.shared = False

    def step(self, step: int, rank: int, world: int, reduce: Reduce) -> dict[str, float]:
        config, share = self.config, step / self.steps
        if world > 1 and not self.shared:  # one secret for all
            mine = torch.tensor(list(self.key), dtype=torch.float32) * (world if rank == 0 else 0)
            self.key, self.shared = bytes(int(x) for x in reduce(mine.to(self.feed.device)).round().tolist()), True
        rate = losses.cosine(config.rate_start, config.rate_end, share)
        places_B = self.feed.places(step, rank, world)
        class_B = torch.from_numpy(places_B % self.classes).to(self.feed.device)
        fake = self.generator(self.feed.noise(places_B, config.latent), class_B)
        weight = world / self.batch

        clipped_P = self._private(step, rank, world)
        loss_fake = F.relu(1 + self.discriminator(fake.detach(), class_B)).sum() * weight
        gradient_P, (told_fake,) = self.d.gradient(loss_fake, [loss_fake], lambda x: x)
        both = reduce(torch.cat([clipped_P * weight, gradient_P, torch.tensor([told_fake]).to(clipped_P)]))
        size = len(clipped_P)
        noise_P = torch.from_numpy(normals(size, self.key, self.about, b"noise", str(step).encode())).to(clipped_P)
        private_P = both[:size] + noise_P * (self.sigma * config.clip / self.batch)
        self.accountant.step(noise_multiplier=self.sigma, sample_rate=self.rate)
        self.d.update(private_P + both[size : 2 * size], rate, step)

        news = {"loss_d_fake": float(both[-1])}
        if (step + 1) % config.d_steps == 0:
            loss_g = -self.discriminator(fake, class_B).sum() * weight
            gradient_g, (news_g,) = self.g.gradient(loss_g, [loss_g], reduce)
            self.g.update(gradient_g, rate, step // config.d_steps)
            follow(self.average_P, self.g.vector_P, self.batch * config.d_steps, config.ema_images, share)
            news["loss_g"] = news_g
        return news

    def _private(self, step: int, rank: int, world: int) -> Tensor:
        """This rank's clipped gradients of the real rows' loss, summed [P]. How many rows were drawn is private too."""
        chance_N = uniforms(len(self.feed.labels_N), self.key, self.about, b"rows", str(step).encode())
        drawn_N = np.flatnonzero(chance_N < self.rate)
        total_P = torch.zeros_like(self.d.vector_P)
        for rows in torch.split(torch.from_numpy(drawn_N[rank::world]).to(self.feed.device), _PART):
            if len(rows):
                real = to_float(self.feed.images_NCHW[rows])
                F.relu(1 - self.each(real, self.feed.labels_N[rows])).sum().backward()  # type: ignore[no-untyped-call]
                each_BP = torch.cat([p.grad_sample.flatten(1) for p in self.each.parameters()], 1)
                self.each.zero_grad(set_to_none=True)
                norm_B1 = each_BP.norm(dim=1, keepdim=True)
                total_P += (each_BP * (self.config.clip / norm_B1.clamp_min(1e-12)).clamp_max(1.0)).sum(0)
        return total_P

    def state(self) -> dict[str, Tensor]:
        """The accountant's history with the rest: a resumed training goes on spending where it was."""
        history = torch.tensor(self.accountant.history, dtype=torch.float64).reshape(-1, 3)
        return {**self.g.state("g"), **self.d.state("d"), "average": self.average_P, "private.history": history}

    def load(self, state: dict[str, Tensor]) -> None:
        self.g.load("g", state)
        self.d.load("d", state)
        self.average_P.copy_(state["average"])
        self.accountant.history = [(sigma, rate, int(n)) for sigma, rate, n in state["private.history"].tolist()]

    @torch.no_grad()
    def weights(self) -> dict[str, Tensor]:
        """The averaged generator and what was spent on it so far."""
        told = {"sigma": self.sigma, "epsilon": self.epsilon, "delta": self.config.delta}
        private = {f"private.{name}": torch.tensor(value, dtype=torch.float64) for name, value in told.items()}
        return {**named(self.generator, self.average_P), "shape": torch.tensor([*self.shape, self.classes]), **private}

    @property
    def epsilon(self) -> float:
        """Spent so far at the configuration's delta, by privacy random variables (Gopi et al., arXiv:2106.02848)."""
        return float(self.accountant.get_epsilon(self.config.delta)) if self.accountant.history else 0.0


start = starting(Training)
latents = normal("dpgan sample")


def painter(config: Config, weights: dict[str, Tensor], device: str) -> nn.Module:
    """The network from latents [B, Z] and classes [B] to images, ready to sample."""
    height, width, channels, classes = weights["shape"].tolist()
    return loaded(Generator(_nets(config), (height, width, channels), classes), weights, device)


def _nets(config: Config) -> GanConfig:
    """The networks are those of `gan`."""
    return GanConfig(
        images=config.images, latent=config.latent, width=config.width, blocks=config.blocks, embedding=config.embedding
    )


def _digest(config: Config, feed: Feed) -> bytes:
    """Names what is trained on and how: with one secret, no two trainings may share noise."""
    said = hashlib.sha256(repr((config, feed.seed)).encode())
    for start in range(0, len(feed.images_NCHW), _PART):
        said.update(feed.images_NCHW[start : start + _PART].cpu().numpy().tobytes())
    said.update(feed.labels_N.cpu().numpy().tobytes())
    return said.digest()


@lru_cache(maxsize=64)
def _sigma(epsilon: float, delta: float, rate: float, steps: int) -> float:
    """The noise, in units of the clip, with which so many steps cost (ε, δ): seconds of search, so it is kept."""
    found = _opacus().accountants.utils.get_noise_multiplier(
        target_epsilon=epsilon, target_delta=delta, sample_rate=rate, steps=steps, accountant="prv",
        epsilon_tolerance=0.001 * epsilon,
    )  # fmt: skip
    return float(found)


def _opacus() -> Any:
    warnings.filterwarnings("ignore", "Full backward hook is firing")  # Opacus' hooks on layers that read pixels
    try:
        import opacus
        import opacus.accountants.utils
    except ImportError as missing:
        raise DsrayError("Private training of a GAN needs Opacus.", "pip install 'dsray[dp]'.") from missing
    return opacus
