"""The gradient of Σ aᵢ D(xᵢ) + b/2 Σ ‖∇D(xᵢ)‖² in the weights of D, without second derivatives.

A network of leaky ReLUs is linear between its bends. So what b/2 ‖∇D(x)‖² gains by a layer's weights is the slope of D
in what leaves the layer, times b v at its entrance, where v is ∇D(x) sent through the network with its bends held; and
what a D(x) gains is the same slope times a h, where h is what x is there. One pass of both at once, a h + b v, and one
product a layer give R1 and R2 (Mescheder et al. 2018, arXiv:1801.04406) and the loss: 4 passes through D instead of 6,
equal to automatic differentiation twice up to rounding.
"""

from collections.abc import Callable, Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2


class Pass:
    """How a network is run through: a linear layer, a bend."""

    def linear(self, layer: nn.Module, x: Tensor) -> Tensor:
        return layer(x)  # type: ignore[no-any-return]  # nn.Module is untyped

    def bend(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, SLOPE)


PLAIN = Pass()


class Trace(Pass):
    """Remembers what leaves every layer, and what enters every bend."""

    def __init__(self) -> None:
        self.left: list[Tensor] = []
        self.bent: list[Tensor] = []

    def linear(self, layer: nn.Module, x: Tensor) -> Tensor:
        self.left.append(layer(x))
        return self.left[-1]

    def bend(self, x: Tensor) -> Tensor:
        self.bent.append(x.detach())
        return F.leaky_relu(x, SLOPE)


class Held(Pass):
    """Runs with the bends as traced, biases counting `times_B` times in each row; a gradient stays within its layer."""

    def __init__(self, trace: Trace, times_B: Tensor) -> None:
        self.times_B = times_B
        self.left: list[Tensor] = []
        self.bent: Iterator[Tensor] = iter(trace.bent)

    def linear(self, layer: nn.Module, x: Tensor) -> Tensor:
        if isinstance(layer, nn.Conv2d):
            weight = layer.weight.to(x.dtype)
            out = F.conv2d(x.detach(), weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)
        elif isinstance(layer, nn.Linear):
            out = F.linear(x.detach(), layer.weight)
        else:
            raise TypeError(f"{type(layer).__name__} is not known to be linear.")
        if layer.bias is not None:
            bias_BC = (self.times_B[:, None] * layer.bias).to(x.dtype)
            out = out + bias_BC.view(*out.shape[:2], *[1] * (out.dim() - 2))
        self.left.append(out)
        return out.detach()

    def bend(self, x: Tensor) -> Tensor:
        return torch.ops.aten.leaky_relu_backward(x, next(self.bent), SLOPE, False)  # type: ignore[no-any-return]


Critic = Callable[[Tensor, Pass], Tensor]
"""Images [B, C, H, W] and a pass → logits [B]."""


class Slopes:
    """A critic at given images: its logits [B], and what they gain by each pixel [B, C, H, W]."""

    def __init__(self, critic: Critic, images_BCHW: Tensor) -> None:
        self.critic, self.at, self.trace = critic, images_BCHW.detach().requires_grad_(), Trace()
        logits_B = critic(self.at, self.trace)
        self.logits_B = logits_B.detach()
        self.images_BCHW, *self.leaving = torch.autograd.grad(logits_B.sum(), [self.at, *self.trace.left])

    def gradient(self, parameters: Iterable[nn.Parameter], loss_B: Tensor, penalty: float | Tensor) -> list[Tensor]:
        """In the parameters, of Σ loss_B D(x) + penalty / 2 Σ ‖∇D(x)‖²; `loss_B` is a loss's slope in the logits."""
        held = Held(self.trace, loss_B)
        with torch.no_grad():
            mixed = loss_B[:, None, None, None] * self.at + penalty * self.images_BCHW
        logits_B = self.critic(mixed, held)
        slopes = [*self.leaving, torch.ones_like(logits_B)]
        return list(torch.autograd.grad([*held.left, logits_B], list(parameters), slopes))
