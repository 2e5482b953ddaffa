"""The discretised logistic (PixelCNN++, arXiv:1701.05517): a probability of the integers 0 to 255, counted in bits.

P(x) = F(x + ½) - F(x - ½), F the logistic distribution's; 0 and 255 have the tails. All is in grey levels: the edges
between two levels are then the same number for both, and the 256 probabilities sum to 1.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LEVELS = 256


def log_probability(levels: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """log P(x) in nats of integers 0 to 255. Mean and scale in grey levels; shapes broadcast.

    F(b) - F(a) = F(b) · F(-a) · (1 - exp(a - b)), so the logarithm is exact far in the tails too.
    """
    rate = (-log_scale).exp()
    above, below = (levels + 0.5 - mean) * rate, (levels - 0.5 - mean) * rate
    inside = torch.log(-torch.expm1(-rate))
    upper = torch.where(levels < LEVELS - 1, F.logsigmoid(above), -inside)
    return upper + torch.where(levels > 0, F.logsigmoid(-below), -inside) + inside


def mixture_log_probability(levels: Tensor, logit_K: Tensor, mean_K: Tensor, log_scale_K: Tensor) -> Tensor:
    """log Σ_k π_k P_k(x) in nats; components lie along dimension 1, where `levels` has size 1. That axis goes."""
    joint_K = logit_K.log_softmax(1) + log_probability(levels, mean_K, log_scale_K)
    return joint_K.logsumexp(1)


def bits(nats: float, numbers: int) -> float:
    """Nats of an image → bits a number (bits/dim). 256 equally likely levels have 8."""
    return nats / numbers / math.log(2)
