"""A σ-VAE as `vae`, and then a rectified flow from N(0, 1) to where its encoder puts the rows of each class.

The first steps train the VAE. The rest trains the flow on the aggregate posterior of the averaged encoder, which no
longer changes. Samples are the decoder's mean where the flow carries the noise.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from dsray import rng
from dsray.models import flow, losses, vae
from dsray.models.configs import VAEFLOW_PRESETS, VaeFlowConfig
from dsray.models.draw import Places, loaded, normal
from dsray.models.feed import Feed, starting
from dsray.models.flat import Flat, Reduce, follow, named
from dsray.models.nets import seeded

Config = VaeFlowConfig
PRESETS = VAEFLOW_PRESETS

Shape = tuple[int, int, int]


class Carrier(nn.Module):
    """Noise [B, Z] and classes [B] → images [B, C, H, W]: the flow, then the decoder."""

    def __init__(self, config: Config, shape: Shape, classes: int) -> None:
        super().__init__()
        self.steps = config.solver_steps
        self.carry = flow.Velocity(config.latent, config.flow_width, config.flow_blocks, classes)
        self.decode = vae.Decoder(config, shape, classes)

    def forward(self, noise_BZ: Tensor, class_B: Tensor) -> Tensor:
        latent_BZ = flow.carried(self.carry, noise_BZ, class_B, self.steps)
        return self.decode(latent_BZ, class_B)  # type: ignore[no-any-return]  # nn.Module is untyped


class Training:
    """Steps of the VAE, then of the flow; all is a function of (seed, step, place in the batch)."""

    def __init__(self, config: Config, feed: Feed, shape: Shape, classes: int) -> None:
        self.config, self.feed, self.shape, self.classes = config, feed, shape, classes
        self.batch = config.batch
        self.steps = -(-config.images // config.batch)
        self.of_vae = max(1, round(self.steps * (1 - config.flow_share)))
        self.vae = vae.Training(replace(config, images=self.of_vae * config.batch), feed, shape, classes)
        # parts of this training too: the loop tells parts their attempt
        self.flat_of_vae, self.recorded_of_vae = self.vae.flat, self.vae.recorded
        field = (config.latent, config.flow_width, config.flow_blocks, classes)
        self.net = seeded(feed.seed + 1, flow.Velocity, *field).to(feed.device)
        self.flat = Flat(self.net, 0.9, config.beta2)
        self.average_P = self.flat.vector_P.clone()
        self.frozen: vae.Vae | None = None  # the averaged VAE; nothing moves it once the flow is trained

    def step(self, step: int, rank: int, world: int, reduce: Reduce) -> dict[str, float]:
        if step < self.of_vae:
            return self.vae.step(step, rank, world, reduce)
        config, done = self.config, step - self.of_vae
        share = done / (self.steps - self.of_vae)
        latent_BZ, noise_BZ, time_B, class_B = self._lines(self.feed.places(step, rank, world))
        weight = world / (self.batch * config.draws)
        loss = flow.flow_loss(self.net, noise_BZ, latent_BZ, time_B, class_B).sum() * weight
        gradient_P, (told,) = self.flat.gradient(loss, [loss], reduce)
        self.flat.update(gradient_P, losses.cosine(config.rate_start, config.rate_end, share), done)
        follow(self.average_P, self.flat.vector_P, self.batch, config.ema_images, share)
        return {"flow": told}

    @torch.no_grad()
    def _lines(self, places_B: Places) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """For each row and draw: a latent of its posterior, the noise and the time that meet it, and its class."""
        draws, latent = self.config.draws, self.config.latent
        real, class_B = self.feed.rows(places_B)
        self.frozen = self.frozen or self._averaged()
        mean_BZ, log_variance_BZ = self.frozen.encode(real)
        drawn_BZ, noise_BZ = self.feed.noise(places_B, (1 + draws) * latent).tensor_split([latent], 1)
        latent_BZ = mean_BZ + (0.5 * log_variance_BZ).exp() * drawn_BZ
        uniform_B = torch.from_numpy(rng.uniform(self.feed.seed, "flow time", places_B.astype(np.uint64))[:, 0])
        time_B = flow.spread(uniform_B, draws).float().flatten().to(self.feed.device)
        return (
            latent_BZ.repeat_interleave(draws, 0),
            noise_BZ.reshape(-1, latent),
            time_B,
            class_B.repeat_interleave(draws),
        )

    def _averaged(self) -> vae.Vae:
        net = vae.Vae(self.config, self.shape, self.classes).to(self.feed.device)
        net.load_state_dict(named(self.vae.net, self.vae.average_P))
        return net

    def state(self) -> dict[str, Tensor]:
        return {**self.vae.state(), **self.flat.state("flow"), "flow_average": self.average_P}

    def load(self, state: dict[str, Tensor]) -> None:
        self.vae.load(state)
        self.flat.load("flow", state)
        self.average_P.copy_(state["flow_average"])
        self.frozen = None

    @torch.no_grad()
    def weights(self) -> dict[str, Tensor]:
        """The averaged flow and the averaged decoder."""
        decoder = {f"decode.{name}": tensor for name, tensor in self._averaged().decode.state_dict().items()}
        carry = {f"carry.{name}": tensor for name, tensor in named(self.net, self.average_P).items()}
        return {**decoder, **carry, "shape": torch.tensor([*self.shape, self.classes])}


start = starting(Training)
latents = normal("vaeflow sample")


def painter(config: Config, weights: dict[str, Tensor], device: str) -> nn.Module:
    """The network from noise [B, Z] and classes [B] to images, ready to sample."""
    height, width, channels, classes = weights["shape"].tolist()
    return loaded(Carrier(config, (height, width, channels), classes), weights, device)
