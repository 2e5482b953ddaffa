"""A conditional σ-VAE (arXiv:1312.6114, arXiv:2006.13202), and for each class a mixture fitted to its latents.

The loss of an image is its negative ELBO, one reconstruction term plus one KL, in nats summed over pixels and latents:

    Σ_pixels [(x - x̂)² / 2σ² + log σ + ½ log 2π]  +  β Σ_z max(λ, KL(q(z|x) ‖ N(0, 1)))

σ² is the batch's mean squared error, the best for it in closed form, so the two terms need no weights. β rises from 0
to 1 over the warm-up (arXiv:1602.02282); a latent number costs at least λ free nats, by the batch's mean KL
(arXiv:1606.04934), so that none is given up early. The encoder's latents are
not N(0, 1): drawing them from a mixture fitted to what it really makes, the aggregate posterior, gives good samples
(arXiv:1903.05789). Samples are the decoder's mean, without the noise σ.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dsray import rng
from dsray.models import losses, prior, speed
from dsray.models.configs import VAE_PRESETS, VaeConfig
from dsray.models.draw import Places, loaded
from dsray.models.feed import Feed, starting, to_float
from dsray.models.flat import Flat, Reduce, named, towards
from dsray.models.loop import alone
from dsray.models.nets import Painter, Reader, seeded
from dsray.models.speed import Ahead, Recorded, Speed

Config = VaeConfig
PRESETS = VAE_PRESETS
PATH = "line"

Shape = tuple[int, int, int]

_LEAST_VARIANCE = float(np.exp(-12.0))  # log σ ≥ -6, as in the σ-VAE's paper
_LATENTS = 6000  # of a class that the mixture is fitted to, about: a draw of each row's posterior, of few rows more
_MOST_DRAWS = 4
_EM_STEPS = 15  # as good for rows that are held out as 50
_ROWS_A_NUMBER = 2  # that a component needs for each latent number: with fewer, samples gather about single rows
_PRIOR = ("weight", "mean", "root")


class Encoder(nn.Module):
    """Images [B, C, H, W] → mean and log variance of the latents, [B, Z] each."""

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.read = Reader(shape, config.width, config.blocks, 2 * config.latent)

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        mean_BZ, log_variance_BZ = self.read(images_BCHW).chunk(2, 1)
        return mean_BZ, log_variance_BZ.clamp(-12.0, 4.0)


class Decoder(nn.Module):
    """Latents [B, Z] and classes [B] → images [B, C, H, W]."""

    def __init__(self, config: Config, shape: Shape, classes: int) -> None:
        super().__init__()
        self.classes = nn.Embedding(classes, config.embedding)
        self.paint = Painter(shape, config.width, config.blocks, config.latent + config.embedding)

    def forward(self, z_BZ: Tensor, class_B: Tensor) -> Tensor:
        return self.paint(torch.cat([z_BZ, self.classes(class_B)], 1))  # type: ignore[no-any-return]  # nn.Module is untyped


class Vae(nn.Module):
    def __init__(self, config: Config, shape: Shape, classes: int) -> None:
        super().__init__()
        self.encode = Encoder(config, shape)
        self.decode = Decoder(config, shape, classes)


class Training:
    """Steps of the negative ELBO; all is a function of (seed, step, place in the batch)."""

    def __init__(self, config: Config, feed: Feed, shape: Shape, classes: int, pace: Speed | None = None) -> None:
        self.config, self.feed, self.shape, self.classes = config, feed, shape, classes
        self.pace = pace or speed.best(feed.device)
        self.batch = config.batch
        self.steps = -(-config.images // config.batch)
        self.net = seeded(feed.seed, Vae, config, shape, classes).to(feed.device)
        self.flat = Flat(self.net, 0.9, config.beta2, self.pace.fused)
        self.average_P = self.flat.vector_P.clone()
        self.ahead = Ahead(self.inputs)
        self.recorded = Recorded(lambda *inputs: self.compute(1, alone, *inputs), feed.device, self.pace.graphs)

    def step(self, step: int, rank: int, world: int, reduce: Reduce) -> dict[str, float]:
        inputs = self.ahead(step, rank, world)
        told_T = self.recorded(*inputs) if world == 1 else self.compute(world, reduce, *inputs)
        if self.pace.graphs:
            self.ahead.expect(step + 1, rank, world)
        nll, kl, variance = told_T.tolist()
        return {"loss": nll + kl, "nll": nll, "kl": kl, "sigma": variance**0.5}

    def inputs(self, step: int, rank: int, world: int) -> tuple[Tensor, ...]:
        """Noise, real images, classes, and what schedules set."""
        config, share = self.config, step / self.steps
        places_B = self.feed.places(step, rank, world)
        rate = losses.cosine(config.rate_start, config.rate_end, share)
        dials = step, rate, min(1.0, share / config.warm_up), towards(self.batch, config.ema_images, share)
        return self.feed.noise(places_B, config.latent), *self.feed.rows(places_B), speed.numbers(dials)

    def compute(
        self, world: int, reduce: Reduce, noise_BZ: Tensor, real: Tensor, class_B: Tensor, numbers_K: Tensor
    ) -> Tensor:
        """The step on the device, without a word to the host: nats of error and KL, and σ² [3]."""
        step, rate, warmth, pull = speed.dialled(numbers_K)
        weight = world / self.batch  # so that the mean over ranks is the mean over the global batch
        with torch.autocast(real.device.type, torch.bfloat16, self.pace.half, cache_enabled=False):
            mean_BZ, log_variance_BZ = (x.float() for x in self.net.encode(real))
            z_BZ = mean_BZ + (0.5 * log_variance_BZ).exp() * noise_BZ
            error = real - self.net.decode(z_BZ, class_B).float()
        kl_Z = losses.kl_to_standard_normal(mean_BZ, log_variance_BZ).sum(0) * weight
        # σ² and the KL of each dimension belong to the global batch: every rank must see the same
        mine = torch.cat([error.detach().square().mean((1, 2, 3)).sum()[None] * weight, kl_Z.detach()])
        all_ranks = reduce(mine)
        variance, all_kl_Z = all_ranks[0].clamp_min(_LEAST_VARIANCE), all_ranks[1:]
        reconstruction = losses.gaussian_nll(error, variance).sum() * weight
        counted_Z = (all_kl_Z > self.config.free_nats).float()  # below it a dimension is free
        loss = reconstruction + warmth * (kl_Z * counted_Z).sum()

        both = reduce(self.flat.slope(loss, [reconstruction, kl_Z.sum()]))
        self.flat.update(both[:-2], rate, step)
        with torch.no_grad():
            self.average_P.lerp_(self.flat.vector_P, pull)
        return torch.cat([both[-2:], variance[None]])

    def state(self) -> dict[str, Tensor]:
        return {**self.flat.state("net"), "average": self.average_P}

    def load(self, state: dict[str, Tensor]) -> None:
        self.flat.load("net", state)
        self.average_P.copy_(state["average"])

    @torch.no_grad()
    def weights(self) -> dict[str, Tensor]:
        """The averaged decoder, and for each class the mixture fitted to its rows' latents by the averaged encoder."""
        net = Vae(self.config, self.shape, self.classes).to(self.feed.device)
        net.load_state_dict(named(self.net, self.average_P))
        mixtures = [self._fitted(net, number) for number in range(self.classes)]
        parts = zip(*((m.weight_K, m.mean_KD, m.root_KDD) for m in mixtures), strict=True)
        priors = {f"prior.{name}": torch.from_numpy(np.stack(part)) for name, part in zip(_PRIOR, parts, strict=True)}
        decoder = {name: tensor.detach() for name, tensor in net.state_dict().items() if name.startswith("decode.")}
        return {**decoder, **priors, "shape": torch.tensor([*self.shape, self.classes])}

    def _fitted(self, net: Vae, number: int) -> prior.Mixture:
        seed, config = self.feed.seed, self.config
        rows_N = torch.nonzero(self.feed.labels_N == number)[:, 0].cpu().numpy()
        if len(rows_N) == 0:
            return prior.standard(config.latent, config.components)
        components = min(config.components, len(rows_N) // (_ROWS_A_NUMBER * config.latent))
        rows_N = rows_N[rng.permutation(seed, "prior rows", len(rows_N))][:_LATENTS]
        draws = min(_MOST_DRAWS, _LATENTS // len(rows_N))
        found = [net.encode(to_float(self.feed.images_NCHW[rows_N[i : i + 256]])) for i in range(0, len(rows_N), 256)]
        mean_ND, spread_ND = (torch.cat(part).double().cpu().numpy() for part in zip(*found, strict=True))
        noise_NX = rng.normal(seed, "prior", rows_N.astype(np.uint64), draws=draws * config.latent)
        noise_NSD = noise_NX.reshape(len(rows_N), draws, config.latent)
        z_ND = (mean_ND[:, None] + np.exp(0.5 * spread_ND)[:, None] * noise_NSD).reshape(-1, config.latent)
        return prior.padded(prior.fit(z_ND, components, seed, steps=_EM_STEPS), config.components)


start = starting(Training)


def painter(config: Config, weights: dict[str, Tensor], device: str) -> nn.Module:
    """The network from latents [B, Z] and classes [B] to images, ready to sample."""
    height, width, channels, classes = weights["shape"].tolist()
    own = {name.removeprefix("decode."): tensor for name, tensor in weights.items()}
    return loaded(Decoder(config, (height, width, channels), classes), own, device)


def latents(
    config: Config, weights: dict[str, Tensor], labels_N: Places, indices_N: Places, seed: int, truncation: float = 1.0
) -> NDArray[np.float64]:
    """[N, Z]: a draw from the mixture of each row's class; `truncation` scales how far it strays from its component."""
    parts = [weights[f"prior.{name}"].cpu().numpy() for name in _PRIOR]
    row_N = indices_N.astype(np.uint64)
    pick_N = rng.uniform(seed, "vae component", row_N)[:, 0]
    normal_NZ = truncation * rng.normal(seed, "vae sample", row_N, draws=config.latent)
    z_NZ = np.empty_like(normal_NZ)
    for number in np.unique(labels_N):
        here_N = labels_N == number
        mixture = prior.Mixture(*(part[number] for part in parts))
        z_NZ[here_N] = mixture.sample(pick_N[here_N], normal_NZ[here_N])
    return z_NZ
