"""A network's parameters as one vector: one all-reduce, one Adam, one moving average, one tensor in a checkpoint."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

Reduce = Callable[[Tensor], Tensor]
"""The mean of a tensor over all workers."""


class Flat:
    """A module's parameters, moved into one vector [P] that they become views of, trained by Adam (arXiv:1412.6980)."""

    def __init__(self, module: nn.Module, beta1: float, beta2: float) -> None:
        self.parameters = list(module.parameters())
        self.vector_P = torch.cat([p.detach().reshape(-1) for p in self.parameters])
        self.mean_P = torch.zeros_like(self.vector_P)
        self.square_P = torch.zeros_like(self.vector_P)
        self.betas = beta1, beta2
        start = 0
        for p in self.parameters:
            p.data = self.vector_P[start : start + p.numel()].view(p.shape)
            start += p.numel()

    def gradient(
        self, loss: Tensor, told: Sequence[Tensor], reduce: Reduce, retain: bool = False
    ) -> tuple[Tensor, list[float]]:
        """d loss / d parameters [P] and the scalars `told`, both averaged over the workers in one go."""
        return together(torch.autograd.grad(loss, self.parameters, retain_graph=retain), told, reduce)

    @torch.no_grad()
    def update(self, gradient_P: Tensor, rate: float, step: int) -> None:
        """One Adam step; `step` counts from 0."""
        beta1, beta2 = self.betas
        self.mean_P.lerp_(gradient_P, 1 - beta1)
        self.square_P.mul_(beta2).addcmul_(gradient_P, gradient_P, value=1 - beta2)
        scale = (1 - beta2 ** (step + 1)) ** 0.5 / (1 - beta1 ** (step + 1))
        # ε = 1e-8 of the paper, on the corrected square
        self.vector_P.addcdiv_(
            self.mean_P, self.square_P.sqrt().add_(1e-8 * (1 - beta2 ** (step + 1)) ** 0.5), value=-rate * scale
        )

    def state(self, name: str) -> dict[str, Tensor]:
        return {name: self.vector_P, f"{name}.mean": self.mean_P, f"{name}.square": self.square_P}

    @torch.no_grad()
    def load(self, name: str, state: dict[str, Tensor]) -> None:
        for key, mine in self.state(name).items():
            mine.copy_(state[key])


def together(gradients: Sequence[Tensor], told: Sequence[Tensor], reduce: Reduce) -> tuple[Tensor, list[float]]:
    """Gradients as one vector [P] and the scalars `told`, averaged over the workers in one go."""
    told_T = torch.stack([t.detach() for t in told])
    both = reduce(torch.cat([*(g.reshape(-1) for g in gradients), told_T]))
    return both[: -len(told)], both[-len(told) :].tolist()


@torch.no_grad()
def follow(average_P: Tensor, vector_P: Tensor, images: int, half_life: float, share: float) -> None:
    """Moves a running average by `images` more images. Its half-life (in images) grows from almost nothing to its full
    length over the first half of the training (`share` 0 to 0.5): the earliest weights are soon forgotten."""
    average_P.lerp_(vector_P, 1 - 0.5 ** (images / (half_life * min(1.0, 0.02 + share / 0.5))))


def named(module: nn.Module, vector_P: Tensor) -> dict[str, Tensor]:
    """A vector [P] as the module's parameters are named and shaped."""
    sizes = [p.numel() for p in module.parameters()]
    parts = torch.split(vector_P.detach().clone(), sizes)
    return {name: part.view(p.shape) for (name, p), part in zip(module.named_parameters(), parts, strict=True)}
