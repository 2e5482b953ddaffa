"""The numbers that make a model, and the presets that a recipe names. Without torch: a plan needs them, fast."""

from dataclasses import dataclass


@dataclass(frozen=True)
class GanConfig:
    """A conditional GAN. Schedules go from `start` to `end` over the first `burn_in` of the images."""

    images: int  # real images seen in the whole training
    batch: int = 64  # global, over all workers
    latent: int = 64  # numbers of noise
    width: int = 64  # channels at the smallest resolution; each doubling of the side halves them
    blocks: int = 1  # residual blocks a resolution
    embedding: int = 32  # numbers that name a class
    rate_start: float = 2e-3  # Adam
    rate_end: float = 3e-4
    beta2: float = 0.99
    gamma_start: float = 1.0  # weight of R1 and R2
    gamma_end: float = 0.1
    burn_in: float = 1.0
    ema_images: float = 3000.0  # half-life of the averaged generator, at the end


@dataclass(frozen=True)
class DcganConfig:
    """A class-conditional DCGAN with the numbers of Radford et al. 2015."""

    images: int  # real images seen in the whole training
    batch: int = 128  # global, over all workers
    latent: int = 100  # numbers of noise
    width: int = 128  # channels at the smallest resolution; each doubling of the side halves them
    rate_start: float = 2e-4  # Adam
    rate_end: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999


@dataclass(frozen=True)
class R3ganConfig:
    """R3GAN as published (arXiv:2501.05441, config E, table 9). Schedules go from `start`, or 0, to `end` or the number
    itself over the first `burn_in` images."""

    images: int
    batch: int = 512
    at_once: int = 64  # real images whose gradients are computed together: a matter of memory, not of results
    latent: int = 64
    embedding: int = 64
    width: int = 768  # channels at sides 4 to 32; each doubling of the side beyond halves them
    blocks: int = 2  # residual blocks a resolution
    group: int = 16  # channels of each group of the 3×3 convolutions
    half: int = 3  # the highest resolutions, computed in bfloat16 on CUDA
    burn_in: float = 20e6
    rate_start: float = 2e-4
    rate_end: float = 5e-5
    beta2_start: float = 0.9
    beta2_end: float = 0.99
    gamma_start: float = 0.05
    gamma_end: float = 0.005
    ema_images: float = 5e6  # half-life of the averaged generator
    augment: float = 0.55  # probability of each transform that the discriminator sees
    augment_target: float = 0.0  # above 0 the probability adapts: how far the discriminator may be ahead, 0 to 1
    augment_images: float = 500_000.0  # in which it can go from 0 to 1
    mirrors: bool = True  # transforms that may be seen; none is learnt while they are rare
    turns: bool = True


@dataclass(frozen=True)
class VaeConfig:
    """A conditional VAE and the mixture that is fitted to its latents."""

    images: int
    batch: int = 64
    latent: int = 24
    width: int = 64
    blocks: int = 1
    embedding: int = 16
    rate_start: float = 2e-3
    rate_end: float = 1e-4
    beta2: float = 0.99
    warm_up: float = 0.1  # share of the images over which the weight of the KL rises to 1
    free_nats: float = 0.05  # a latent dimension costs at least this, so none is given up early
    ema_images: float = 2000.0
    components: int = 4  # of the mixture of each class, at most


@dataclass(frozen=True)
class VaeFlowConfig(VaeConfig):
    """A conditional VAE and a rectified flow to its latents, which is trained with the last images."""

    flow_share: float = 0.3  # of the images
    flow_width: int = 256
    flow_blocks: int = 3
    draws: int = 4  # times and noises of each latent in a step
    solver_steps: int = 32  # of Heun's method, two evaluations each


@dataclass(frozen=True)
class HvaeConfig:
    """A conditional VAE with groups of latents at every resolution, and a likelihood of grey levels."""

    images: int
    batch: int = 64
    latent: int = 4  # channels of a group
    width: int = 64
    blocks: int = 2  # groups a resolution
    embedding: int = 16
    components: int = 5  # of each pixel's likelihood
    rate_start: float = 1e-3
    rate_end: float = 1e-4
    beta2: float = 0.99
    warm_up: float = 0.1  # share of the images over which the weight of the KL rises to 1
    clip: float = 300.0  # greatest norm of a step's gradient
    ema_images: float = 2000.0


@dataclass(frozen=True)
class MerfConfig:
    """A private conditional generator, matched to one noisy mean embedding. A batch is made, not read."""

    images: int  # made in the whole training
    epsilon: float = 10.0
    delta: float = 1e-5  # well below 1 / rows
    batch: int = 240
    latent: int = 40  # numbers of noise; also directions in which a class's Gaussian spreads
    width: int = 32
    blocks: int = 1
    embedding: int = 16
    rate_start: float = 1e-3
    rate_end: float = 3e-5
    beta2: float = 0.99
    ema_images: float = 10_000.0
    modes: int = 14  # low frequencies a side whose second moments are taken
    radius: float = 0.4  # greatest root mean square of an image, in [0, 1]; brighter ones are darkened
    moments: float = 0.5  # share of the sensitivity's square that the moments get; the rest is the Fourier features'
    frequencies: int = 2000
    kernel_wide: float = 0.36  # widths of two kernels, as root mean square differences of pixels in [0, 1]
    kernel_narrow: float = 0.14


@dataclass(frozen=True)
class DpganConfig:
    """A GAN whose discriminator is trained with DP-SGD; several of its steps for one of the generator."""

    images: int  # real images drawn in the whole training, on average
    epsilon: float = 10.0
    delta: float = 1e-5  # well below 1 / rows
    batch: int = 256  # real images of a step, on average
    clip: float = 1.0  # greatest norm of one image's gradient
    d_steps: int = 10  # of the discriminator for one of the generator
    latent: int = 32
    width: int = 32
    blocks: int = 1
    embedding: int = 16
    rate_start: float = 1e-3
    rate_end: float = 2e-4
    beta2: float = 0.99
    ema_images: float = 20_000.0


GAN_PRESETS = {
    "tiny": GanConfig(images=640, batch=32, latent=16, width=16, embedding=8),
    "quick": GanConfig(images=60_000, batch=32, width=32, gamma_start=0.3, gamma_end=0.03),
}
DCGAN_PRESETS = {
    "tiny": DcganConfig(images=640, batch=32, latent=16, width=16),
    "dcgan": DcganConfig(images=60_000),
}
R3GAN_PRESETS = {
    "tiny": R3ganConfig(
        images=640, batch=32, at_once=32, latent=16, embedding=8, width=8, blocks=1, group=8, burn_in=400, augment=0.3,
        ema_images=100, rate_start=2e-3, rate_end=5e-4, gamma_start=1.0, gamma_end=0.1,
    ),
    "r3gan-32": R3ganConfig(images=250_000_000),  # the paper's CIFAR-10
    "r3gan-64": R3ganConfig(  # its FFHQ-64
        images=100_000_000, batch=256, at_once=32, half=4, gamma_start=2.0, gamma_end=0.2, ema_images=5e5, augment=0.3
    ),
    "r3gan-128": R3ganConfig(  # not in the paper: between its neighbours, γ their geometric mean
        images=150_000_000, batch=256, at_once=32, half=4, gamma_start=17.0, gamma_end=1.7, ema_images=5e5, augment=0.3
    ),
    "r3gan-256": R3ganConfig(  # its FFHQ-256
        images=200_000_000, batch=256, at_once=32, half=4, gamma_start=150.0, gamma_end=15.0, ema_images=5e5,
        augment=0.3,
    ),
}  # fmt: skip
VAE_PRESETS = {
    "tiny": VaeConfig(images=1280, batch=32, latent=8, width=16, embedding=8, components=2),
    "quick": VaeConfig(images=60_000, latent=40, width=32, components=40),
}
VAEFLOW_PRESETS = {
    "tiny": VaeFlowConfig(images=1280, batch=32, latent=8, width=16, embedding=8, flow_width=32, solver_steps=8),
    "best": VaeFlowConfig(
        images=6_000_000,
        batch=256,
        latent=64,
        width=256,
        blocks=2,
        rate_start=1e-3,
        rate_end=3e-5,
        ema_images=50_000.0,
        flow_width=1024,
        flow_blocks=4,
    ),
}
HVAE_PRESETS = {
    "tiny": HvaeConfig(images=1280, batch=32, latent=2, width=16, blocks=1, embedding=8, components=2),
    "hvae": HvaeConfig(
        images=20_000_000, batch=128, latent=8, width=256, blocks=8, components=10, ema_images=100_000.0
    ),
}
MERF_PRESETS = {
    "tiny": MerfConfig(
        images=640, batch=32, latent=8, width=16, embedding=8, modes=3, frequencies=50, epsilon=100.0, delta=1e-3
    ),
    "quick": MerfConfig(images=120_000),
}
DPGAN_PRESETS = {
    "tiny": DpganConfig(
        images=640, batch=32, latent=6, width=16, embedding=8, d_steps=2, epsilon=50.0, delta=1e-3, ema_images=500.0
    ),
    "quick": DpganConfig(images=400_000),
}

Config = DcganConfig | DpganConfig | GanConfig | HvaeConfig | MerfConfig | R3ganConfig | VaeConfig

FAMILIES: dict[str, dict[str, Config]] = {
    "dpgan": {**DPGAN_PRESETS},
    "gan": {
        **GAN_PRESETS,
        "dcgan": DCGAN_PRESETS["dcgan"],
        **{name: config for name, config in R3GAN_PRESETS.items() if name != "tiny"},
    },
    "merf": {**MERF_PRESETS},
    "vae": {**VAE_PRESETS, "best": VAEFLOW_PRESETS["best"], "hvae": HVAE_PRESETS["hvae"]},
}
"""What a recipe calls a model → its presets; the kind of numbers says which architecture a preset is of."""

ARCHITECTURES = {
    DcganConfig: "dcgan",
    DpganConfig: "dpgan",
    GanConfig: "gan",
    HvaeConfig: "hvae",
    MerfConfig: "merf",
    R3ganConfig: "r3gan",
    VaeConfig: "vae",
    VaeFlowConfig: "vaeflow",
}
"""Numbers → the module of dsray.models that they are for."""

JUDGES = {"gan", "r3gan"}
"""Architectures whose weights hold the discriminator: they have `judge`."""

PRIVATE = {"dpgan", "merf"}
"""Architectures whose samples must not be compared with the training rows, or what they promise is gone."""
