"""The mean embedding of (image, class): all that a private model sees of the rows, a vector of norm ≤ 1 a row.

Two kernels side by side. A polynomial of degree 2 on the low frequencies of the image: its embedding is the class's
count, mean and second moments, which a Gaussian matches in closed form. And a Gaussian kernel on the pixels, as
random Fourier features (Rahimi and Recht 2007), which see what moments don't. A row's vector has norm ≤ 1 and goes to
its class's row.

Axes: N rows, K classes, P pixels of all channels, D frequencies kept and a constant, Q numbers of the embedding.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsray import rng
from dsray.models.configs import MerfConfig
from dsray.models.feed import Mapped

Floats = NDArray[np.float64]
Shape = tuple[int, int, int]

_CONSTANT = 0.5  # beside a row of norm ≤ 1, so that the count is among the second moments
_CHUNK = 1000


class Embedding:
    """Images [N, C, H, W] in [0, 1] → vectors of norm ≤ 1; a function of the configuration and the seed alone."""

    def __init__(self, config: MerfConfig, shape: Shape, seed: int, device: str) -> None:
        pixels = int(np.prod(shape))
        self.basis_DP = torch.from_numpy(basis(shape, config.modes)).float().to(device)
        self.radius = config.radius * pixels**0.5
        self.share = config.moments
        scale_F = np.resize([config.kernel_wide, config.kernel_narrow], config.frequencies) * pixels**0.5
        wave_FP = rng.normal(seed, "merf frequencies", np.arange(config.frequencies, dtype=np.uint64), draws=pixels)
        self.wave_PF = torch.from_numpy((wave_FP / scale_F[:, None]).T.copy()).float().to(device)

    @torch.no_grad()
    def sums(self, images_NCHW: Tensor | Mapped, labels_N: Tensor, classes: int) -> Floats:
        """[K, Q]: the sum over the rows of each class. One row more or less changes one class by norm ≤ 1."""
        d = len(self.basis_DP) + 1
        moments_KDD = np.zeros((classes, d, d))
        waves_KF = np.zeros((classes, 2 * self.wave_PF.shape[1]))
        for number in range(classes):
            rows_N = torch.nonzero(labels_N == number)[:, 0]
            for part_N in torch.split(rows_N, _CHUNK):
                images = images_NCHW[part_N].float() / 255
                row_ND = self.low(images)
                moments_KDD[number] += (row_ND.T @ row_ND).double().cpu().numpy()
                waves_KF[number] += self.waves(images).sum(0).double().cpu().numpy()
        upper, weight = _upper(d)
        moments_KQ = moments_KDD[:, upper[0], upper[1]] * weight
        return np.concatenate([self.share**0.5 * moments_KQ, (1 - self.share) ** 0.5 * waves_KF], 1)

    def low(self, images_NCHW: Tensor) -> Tensor:
        """[N, D]: a constant and the low frequencies, scaled to norm ≤ 1."""
        low_ND = images_NCHW.flatten(1) @ self.basis_DP.T
        low_ND = low_ND / low_ND.norm(dim=1, keepdim=True).clamp_min(self.radius)
        constant_N1 = torch.full_like(low_ND[:, :1], _CONSTANT)
        scaled: Tensor = torch.cat([constant_N1, low_ND], 1) / (1 + _CONSTANT**2) ** 0.5
        return scaled

    def waves(self, images_NCHW: Tensor) -> Tensor:
        """[N, 2F]: cosines and sines, of norm 1."""
        angle_NF = images_NCHW.flatten(1) @ self.wave_PF
        waves: Tensor = torch.cat([angle_NF.cos(), angle_NF.sin()], 1) / self.wave_PF.shape[1] ** 0.5
        return waves

    def waves_mean(self, sums_KQ: Floats) -> Floats:
        """[K, 2F]: the Fourier features' mean of each class; noise stays in."""
        waves_KF = sums_KQ[:, -2 * self.wave_PF.shape[1] :] / (1 - self.share) ** 0.5
        return np.asarray(waves_KF / self._counts(sums_KQ)[:, None])

    def gaussians(self, sums_KQ: Floats, sigma: float, rank: int) -> tuple[Floats, Floats]:
        """Mean [K, P] and root [K, rank, P] of the Gaussian of each class, as images in [0, 1].

        Eigenvalues of the covariance below the edge of the noise's spectrum are noise; those above are too large by
        what the noise adds (Benaych-Georges and Nadakuditi 2011): λ = (l + √(l² - edge²)) / 2.
        """
        d = len(self.basis_DP) + 1
        upper, weight = _upper(d)
        count_K = self._counts(sums_KQ)
        unit = (1 + _CONSTANT**2) / self.share**0.5
        basis_DP = self.basis_DP.double().cpu().numpy() * self.radius
        mean_KP = np.empty((len(sums_KQ), basis_DP.shape[1]))
        root_KRP = np.zeros((len(sums_KQ), rank, basis_DP.shape[1]))
        for number, (row_Q, count) in enumerate(zip(sums_KQ, count_K, strict=True)):
            second_DD = np.zeros((d, d))
            second_DD[upper] = row_Q[: len(weight)] / weight * unit / count
            second_DD = second_DD + np.triu(second_DD, 1).T
            mean_D = second_DD[0, 1:] / _CONSTANT
            value_D, vector_DD = np.linalg.eigh(second_DD[1:, 1:] - np.outer(mean_D, mean_D))
            value_R, vector_DR = value_D[::-1][:rank], vector_DD[:, ::-1][:, :rank]
            edge = (2 * d) ** 0.5 * sigma * unit / count
            kept_R = np.where(value_R > edge, value_R + np.sqrt(np.maximum(value_R**2 - edge**2, 0)), 0) / 2
            mean_KP[number] = mean_D @ basis_DP
            root_KRP[number, : len(kept_R)] = (vector_DR * np.sqrt(kept_R)).T @ basis_DP
        return mean_KP, root_KRP

    def _counts(self, sums_KQ: Floats) -> Floats:
        """The noisy number of rows of each class; at least 1."""
        return np.asarray(np.maximum(sums_KQ[:, 0] * (1 + _CONSTANT**2) / self.share**0.5 / _CONSTANT**2, 1.0))


def basis(shape: Shape, modes: int) -> Floats:
    """[D, P]: the `modes` × `modes` lowest cosines of each channel, orthonormal."""
    height, width, channels = shape
    rows_MH, rows_MW = _cosines(height, modes), _cosines(width, modes)
    flat_DP = np.einsum("ah,bw->abhw", rows_MH, rows_MW).reshape(-1, height * width)
    return np.asarray(np.kron(np.eye(channels), flat_DP))


def _cosines(side: int, modes: int) -> Floats:
    """The first rows of the orthonormal DCT-II."""
    k_M1, x_S = np.arange(min(modes, side))[:, None], np.arange(side)
    scale_M1 = np.where(k_M1 == 0, (1 / side) ** 0.5, (2 / side) ** 0.5)
    return np.asarray(scale_M1 * np.cos(np.pi * k_M1 * (2 * x_S + 1) / (2 * side)))


def _upper(d: int) -> tuple[tuple[NDArray[np.int64], ...], Floats]:
    """Places of a symmetric matrix's upper half, and weights with which its norm is the whole matrix's."""
    upper = np.triu_indices(d)
    return upper, np.asarray(np.where(upper[0] == upper[1], 1.0, 2**0.5))
