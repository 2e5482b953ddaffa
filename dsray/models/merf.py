"""A private generator by mean embeddings (DP-MERF, Harder et al., arXiv:2002.11603): (ε, δ) is spent once, at first.

The Gaussian mechanism releases one noisy embedding of each class; all else is a function of it and of public numbers,
so steps, epochs and checkpoints cost nothing. Two things beside the paper: the embedding has second moments, from
which each class starts as a Gaussian in closed form; and the distance is the unbiased one (Gretton et al. 2012), for
with the biased one a generator is paid for making all rows alike. Neighbours differ by one row, added or removed.
"""

import numpy as np
import torch
from torch import Tensor, nn

from dsray.errors import DsrayError
from dsray.models import losses
from dsray.models.configs import MERF_PRESETS, MerfConfig
from dsray.models.draw import loaded, normal
from dsray.models.embedding import Embedding
from dsray.models.feed import Feed, starting
from dsray.models.flat import Flat, Reduce, follow, named
from dsray.models.nets import Painter, seeded
from dsray.models.noise import noised, secret
from dsray.models.privacy import epsilon_of, sigma_of

Config = MerfConfig
PRESETS = MERF_PRESETS

Shape = tuple[int, int, int]

_FIRST = 0.1  # size of the first correction to the Gaussian


class Generator(nn.Module):
    """Noise [B, Z] and classes [B] → images [B, C, H, W], about [-1, 1]: its class's Gaussian, corrected."""

    mean_KP: Tensor
    root_KZP: Tensor

    def __init__(self, config: Config, shape: Shape, classes: int) -> None:
        super().__init__()
        pixels = int(np.prod(shape))
        self.shape = shape
        self.register_buffer("mean_KP", torch.zeros(classes, pixels))
        self.register_buffer("root_KZP", torch.zeros(classes, config.latent, pixels))
        self.classes = nn.Embedding(classes, config.embedding)
        self.paint = Painter(shape, config.width, config.blocks, config.latent + config.embedding)
        with torch.no_grad():
            self.paint.leave.weight.mul_(_FIRST)

    def forward(self, z_BZ: Tensor, class_B: Tensor) -> Tensor:
        plain_BP = self.mean_KP[class_B] + torch.einsum("bz,bzp->bp", z_BZ, self.root_KZP[class_B])
        height, width, channels = self.shape
        plain = 2 * plain_BP.view(-1, channels, height, width) - 1
        return plain + self.paint(torch.cat([z_BZ, self.classes(class_B)], 1))  # type: ignore[no-any-return]


class Training:
    """Steps of the embedding's distance; after the first line of the first step no row is looked at."""

    def __init__(self, config: Config, feed: Feed, shape: Shape, classes: int) -> None:
        if config.delta * len(feed.labels_N) >= 1:
            raise DsrayError(
                f"A delta of {config.delta:g} protects nobody among {len(feed.labels_N)} rows.",
                "Give a delta well below 1 / rows.",
            )
        self.config, self.feed, self.shape, self.classes = config, feed, shape, classes
        self.batch = config.batch
        self.steps = -(-config.images // config.batch)
        self.sigma = sigma_of(config.epsilon, config.delta)
        self.embedding = Embedding(config, shape, feed.seed, feed.device)
        exact_KQ = self.embedding.sums(feed.images_NCHW, feed.labels_N, classes)
        self.sums_KQ = torch.from_numpy(noised(exact_KQ, self.sigma, "merf", secret()))
        self.net = seeded(feed.seed, Generator, config, shape, classes).to(feed.device)
        self.flat = Flat(self.net, 0.5, config.beta2)
        self.average_P = self.flat.vector_P.clone()
        self._settle()

    def step(self, step: int, rank: int, world: int, reduce: Reduce) -> dict[str, float]:
        config, share = self.config, step / self.steps
        if step == 0 and world > 1:  # the noise of rank 0 is everyone's: with others' the loss would be greater
            mine = self.sums_KQ.to(self.feed.device) * (world if rank == 0 else 0)
            self.sums_KQ = reduce(mine).cpu()
            self._settle()
        places_B = self.feed.places(step, rank, world)
        class_B = torch.from_numpy(places_B % self.classes).to(self.feed.device)
        made = self.net(self.feed.noise(places_B, config.latent), class_B)
        waves_BF = self.embedding.waves((made + 1) / 2)
        count_K = self._made(step)
        mean_KF = reduce(self._sums(waves_BF.detach(), class_B) * world) / count_K[:, None]
        # U-statistic: d/dφᵢ of Σ_{i≠j} φᵢφⱼ / m(m-1) - 2 μφᵢ / m
        pairs_K = (count_K - 1).clamp_min(1)
        pull_BF = (count_K[:, None] * mean_KF)[class_B] - waves_BF.detach()
        pull_BF = pull_BF / (count_K * pairs_K)[class_B, None] - (self.target_KF / count_K[:, None])[class_B]
        loss = 2 * (pull_BF * waves_BF).sum() * world / self.classes
        gradient_P, _ = self.flat.gradient(loss, [loss], reduce)
        self.flat.update(gradient_P, losses.cosine(config.rate_start, config.rate_end, share), step)
        follow(self.average_P, self.flat.vector_P, self.batch, config.ema_images, share)
        same_K = (count_K * mean_KF.square().sum(1) - 1) / pairs_K
        distance_K = same_K - 2 * (mean_KF * self.target_KF).sum(1) + self.target_KF.square().sum(1)
        return {"distance": float(distance_K.mean()), "epsilon": self.epsilon}

    @property
    def epsilon(self) -> float:
        """What the release of the sums has cost, at the configuration's delta."""
        return epsilon_of(self.sigma, self.config.delta)

    def state(self) -> dict[str, Tensor]:
        return {**self.flat.state("net"), "average": self.average_P, "private.sums": self.sums_KQ, **self._spent()}

    def load(self, state: dict[str, Tensor]) -> None:
        self.flat.load("net", state)
        self.average_P.copy_(state["average"])
        self.sums_KQ = state["private.sums"].cpu().clone()
        self.sigma = float(state["private.sigma"])
        self._settle()

    @torch.no_grad()
    def weights(self) -> dict[str, Tensor]:
        """The averaged generator and what was spent on it."""
        tensors = {**self.net.state_dict(), **named(self.net, self.average_P)}
        return {**tensors, "shape": torch.tensor([*self.shape, self.classes]), **self._spent()}

    def _spent(self) -> dict[str, Tensor]:
        told = {"sigma": self.sigma, "epsilon": self.epsilon, "delta": self.config.delta}
        return {f"private.{name}": torch.tensor(value, dtype=torch.float64) for name, value in told.items()}

    @torch.no_grad()
    def _settle(self) -> None:
        """What follows from the noisy sums."""
        sums_KQ = self.sums_KQ.numpy()
        target_KF = self.embedding.waves_mean(sums_KQ)
        mean_KP, root_KZP = self.embedding.gaussians(sums_KQ, self.sigma, self.config.latent)
        self.target_KF = torch.from_numpy(target_KF).float().to(self.feed.device)
        self.net.mean_KP.copy_(torch.from_numpy(mean_KP))
        self.net.root_KZP.copy_(torch.from_numpy(root_KZP))

    def _made(self, step: int) -> Tensor:
        """How many rows of each class [K] the global batch has; at least 1."""
        every = (step * self.batch + np.arange(self.batch)) % self.classes
        return torch.from_numpy(np.bincount(every, minlength=self.classes)).clamp_min(1).float().to(self.feed.device)

    def _sums(self, waves_BF: Tensor, class_B: Tensor) -> Tensor:
        zeros_KF = torch.zeros(self.classes, waves_BF.shape[1], device=waves_BF.device)
        return zeros_KF.index_add(0, class_B, waves_BF)


start = starting(Training)
latents = normal("merf sample")


def painter(config: Config, weights: dict[str, Tensor], device: str) -> nn.Module:
    """The network from latents [B, Z] and classes [B] to images, ready to sample."""
    height, width, channels, classes = weights["shape"].tolist()
    return loaded(Generator(config, (height, width, channels), classes), weights, device)
