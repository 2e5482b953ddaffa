"""Convolution whose second derivatives are as fast as its first: R1 and R2 need them in every step.

⟨g, x * w⟩ is linear in the input x, the weight w and the output's slope g. Each of the three functions here is its
derivative along one of them, so the derivatives of each are the other two, at any order. PyTorch's own second
derivative convolves with kernels as large as the image, once a group.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function


def convolve(x_BCHW: Tensor, weight: Tensor, groups: int = 1) -> Tensor:
    """The image convolved with `weight` [outputs, C / groups, side, side], side odd, at the same size: zeros around."""
    return _Output.apply(x_BCHW, weight, groups)  # type: ignore[no-any-return,no-untyped-call]


class _Output(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, groups: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.groups = groups
        return F.conv2d(x, weight, padding=weight.shape[2] // 2, groups=groups)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        return (
            _Input.apply(slope, weight, x, ctx.groups) if ctx.needs_input_grad[0] else None,  # type: ignore[no-untyped-call]
            _Weight.apply(slope, x, weight, ctx.groups) if ctx.needs_input_grad[1] else None,  # type: ignore[no-untyped-call]
            None,
        )


class _Input(Function):
    """The slope at the output and the weight → the slope at the input, shaped like `x`, which is not read."""

    @staticmethod
    def forward(ctx: Any, slope: Tensor, weight: Tensor, x: Tensor, groups: int) -> Tensor:
        ctx.save_for_backward(slope, weight)
        ctx.groups = groups
        return _slopes(slope, x, weight, groups, 0)

    @staticmethod
    def backward(ctx: Any, x: Tensor) -> Any:
        slope, weight = ctx.saved_tensors
        return (
            _Output.apply(x, weight, ctx.groups) if ctx.needs_input_grad[0] else None,  # type: ignore[no-untyped-call]
            _Weight.apply(slope, x, weight, ctx.groups) if ctx.needs_input_grad[1] else None,  # type: ignore[no-untyped-call]
            None,
            None,
        )


class _Weight(Function):
    """The slope at the output and the input → the slope at the weight, shaped like `weight`, which is not read."""

    @staticmethod
    def forward(ctx: Any, slope: Tensor, x: Tensor, weight: Tensor, groups: int) -> Tensor:
        ctx.save_for_backward(slope, x)
        ctx.groups = groups
        return _slopes(slope, x, weight, groups, 1)

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> Any:
        slope, x = ctx.saved_tensors
        return (
            _Output.apply(x, weight, ctx.groups) if ctx.needs_input_grad[0] else None,  # type: ignore[no-untyped-call]
            _Input.apply(slope, weight, x, ctx.groups) if ctx.needs_input_grad[1] else None,  # type: ignore[no-untyped-call]
            None,
            None,
        )


def _slopes(slope: Tensor, x: Tensor, weight: Tensor, groups: int, which: int) -> Tensor:
    """The first derivative along the input (0) or the weight (1)."""
    pad, wanted = weight.shape[2] // 2, [which == 0, which == 1, False]
    found = torch.ops.aten.convolution_backward(
        slope, x, weight, None, [1, 1], [pad, pad], [1, 1], False, [0, 0], groups, wanted
    )
    return found[which]  # type: ignore[no-any-return]
