"""Objectives. They know no network, loop or cluster. Axes: B batch, Z latent, P parameters."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def relativistic_d_loss(real_B: Tensor, fake_B: Tensor) -> Tensor:
    """softplus(-(D(x) - D(G(z)))) of each pair [B] (Jolicoeur-Martineau 2018; R3GAN, arXiv:2501.05441, eq. 2)."""
    return F.softplus(fake_B - real_B)


def relativistic_g_loss(real_B: Tensor, fake_B: Tensor) -> Tensor:
    """softplus(-(D(G(z)) - D(x))) of each pair [B]: the mirror of `relativistic_d_loss`."""
    return F.softplus(real_B - fake_B)


def speechless(d_loss: float, r2: float) -> bool:
    """Whether a relativistic discriminator is flat around the generator's images, or tells all pairs apart beyond
    doubt: its slope, all that a generator learns from, says nothing. R2 is about 0.2 at the start of a training."""
    return r2 < 1e-8 or d_loss < 1e-4


def classic_d_loss(real_B: Tensor, fake_B: Tensor) -> Tensor:
    """-log σ(D(x)) - log(1 - σ(D(G(z)))) of each pair [B] (Goodfellow et al. 2014, arXiv:1406.2661, eq. 1)."""
    return F.softplus(-real_B) + F.softplus(fake_B)


def non_saturating_g_loss(fake_B: Tensor) -> Tensor:
    """-log σ(D(G(z))) of each generated image [B]: steep where the discriminator wins (arXiv:1406.2661, section 3)."""
    return F.softplus(-fake_B)


def gradient_penalty(logits_B: Tensor, images_BCHW: Tensor) -> Tensor:
    """‖∇D‖² of each image [B]: R1 on real images, R2 on generated ones (Mescheder et al. 2018). Differentiable."""
    (slope_BCHW,) = torch.autograd.grad(logits_B.sum(), images_BCHW, create_graph=True)
    return slope_BCHW.square().sum((1, 2, 3))


def kl_to_standard_normal(mean_BZ: Tensor, log_variance_BZ: Tensor) -> Tensor:
    """KL(N(μ, σ²) ‖ N(0, 1)) of each latent number [B, Z], in nats: ½(μ² + σ² - 1 - log σ²)."""
    return 0.5 * (mean_BZ.square() + log_variance_BZ.exp() - 1.0 - log_variance_BZ)


def gaussian_nll(error: Tensor, variance: Tensor) -> Tensor:
    """-log N(error; 0, σ²) of each number, in nats. With σ² the batch's mean squared error this is the σ-VAE's optimal
    decoder (Rybkin et al., arXiv:2006.13202); σ² then may be taken as given, for the slope along it is 0 there."""
    return 0.5 * (error.square() / variance + variance.log() + math.log(2 * math.pi))


def cosine(start: float, end: float, share: float) -> float:
    """From `start` to `end` along half a cosine as `share` goes from 0 to 1; constant beyond."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(max(share, 0.0), 1.0)))
