"""A rectified flow over latents: noise is carried along straight lines to where the latents of each class lie.

Liu et al., arXiv:2209.03003; Lipman et al., arXiv:2210.02747. Time runs from 0, the noise, to 1, the latents.
Axes: B batch, Z latent, W width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsray.models.nets import linear

_WAVES = 16  # frequencies that tell the time, 1 to 1000 radians


class Velocity(nn.Module):
    """Latents [B, Z], times [B] in [0, 1] and classes [B] → velocities [B, Z]; before training 0 everywhere."""

    def __init__(self, latent: int, width: int, blocks: int, classes: int) -> None:
        super().__init__()
        self.enter = linear(latent, width)
        self.clock = linear(2 * _WAVES, width)
        self.classes = nn.Embedding(classes, width)
        self.first = nn.ModuleList(linear(width, width, gain=2**0.5) for _ in range(blocks))
        self.second = nn.ModuleList(linear(width, width, gain=0.0) for _ in range(blocks))
        self.leave = linear(width, latent, gain=0.0)

    def forward(self, z_BZ: Tensor, time_B: Tensor, class_B: Tensor) -> Tensor:
        told_BW = self.clock(waves(time_B)) + self.classes(class_B)
        x_BW = self.enter(z_BZ)
        for first, second in zip(self.first, self.second, strict=True):
            x_BW = x_BW + second(F.silu(first(F.silu(x_BW + told_BW))))
        return self.leave(F.silu(x_BW))  # type: ignore[no-any-return]  # nn.Module is untyped


def waves(time_B: Tensor) -> Tensor:
    """[B, 2 waves]: cosines and sines of the time at frequencies that grow geometrically."""
    frequency_W = torch.logspace(0.0, 3.0, _WAVES, dtype=time_B.dtype, device=time_B.device)
    angle_BW = time_B[:, None] * frequency_W
    return torch.cat([angle_BW.cos(), angle_BW.sin()], 1)


def flow_loss(net: nn.Module, noise_BZ: Tensor, latent_BZ: Tensor, time_B: Tensor, class_B: Tensor) -> Tensor:
    """‖v(z_t, t) - (z₁ - z₀)‖² of each row [B] at z_t = (1 - t) z₀ + t z₁ (arXiv:2209.03003, eq. 1)."""
    there_BZ = torch.lerp(noise_BZ, latent_BZ, time_B[:, None])
    wrong_BZ: Tensor = net(there_BZ, time_B, class_B) - (latent_BZ - noise_BZ)
    return wrong_BZ.square().sum(1)


def carried(net: nn.Module, noise_BZ: Tensor, class_B: Tensor, steps: int) -> Tensor:
    """Latents [B, Z]: the noise after time 1, by `steps` equal steps of Heun's method (order 2)."""
    z_BZ, length = noise_BZ, 1 / steps
    for number in range(steps):
        here_B, there_B = (torch.full_like(z_BZ[:, 0], (number + ahead) * length) for ahead in (0, 1))
        slope_BZ = net(z_BZ, here_B, class_B)
        ahead_BZ = net(z_BZ + length * slope_BZ, there_B, class_B)
        z_BZ = z_BZ + length / 2 * (slope_BZ + ahead_BZ)
    return z_BZ


def spread(uniform_B: Tensor, draws: int) -> Tensor:
    """[B, draws] times of each row: one in each of `draws` equal parts of [0, 1)."""
    part_D = torch.arange(draws, dtype=uniform_B.dtype, device=uniform_B.device)
    return (uniform_B[:, None] + part_D) / draws
