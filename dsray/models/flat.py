"""A network's parameters as one vector: one all-reduce, one Adam, one moving average, one tensor in a checkpoint."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

Reduce = Callable[[Tensor], Tensor]
"""The mean of a tensor over all workers."""

Number = float | Tensor
"""One number; on the device it can change between replays of a CUDA graph."""


class Flat:
    """A module's parameters, moved into one vector [P] that they become views of, trained by Adam (arXiv:1412.6980)."""

    def __init__(self, module: nn.Module, beta1: float, beta2: float, fused: bool = False) -> None:
        self.parameters = list(module.parameters())
        self.vector_P = torch.cat([p.detach().reshape(-1) for p in self.parameters])
        self.mean_P = torch.zeros_like(self.vector_P)
        self.square_P = torch.zeros_like(self.vector_P)
        self.betas, self.fused = (beta1, beta2), fused
        self.attempt = 0  # a training that broke tries again with half the rate
        start = 0
        for p in self.parameters:
            p.data = self.vector_P[start : start + p.numel()].view(p.shape)
            start += p.numel()

    def gradient(
        self, loss: Tensor, told: Sequence[Tensor], reduce: Reduce, retain: bool = False
    ) -> tuple[Tensor, list[float]]:
        """d loss / d parameters [P] and the scalars `told`, both averaged over the workers in one go."""
        return averaged(torch.autograd.grad(loss, self.parameters, retain_graph=retain), told, reduce)

    def slope(self, loss: Tensor, told: Sequence[Tensor], retain: bool = False) -> Tensor:
        """This worker's part of the same, as one vector [P + T] that stays on the device."""
        return together(torch.autograd.grad(loss, self.parameters, retain_graph=retain), told)

    @torch.no_grad()
    def update(self, gradient_P: Tensor, rate: Number, step: Number, beta2: Number | None = None) -> None:
        """One Adam step; `step` counts from 0. `beta2` may change from step to step."""
        rate = rate * 0.5**self.attempt
        beta1, beta2 = self.betas[0], self.betas[1] if beta2 is None else beta2
        if self.fused and not isinstance(beta2, Tensor):
            count = torch.as_tensor(step + 1, dtype=torch.float32, device=self.vector_P.device)
            torch._fused_adam_(
                [self.vector_P], [gradient_P], [self.mean_P], [self.square_P], [], [count], lr=rate, beta1=beta1,
                beta2=beta2, weight_decay=0.0, eps=1e-8, amsgrad=False, maximize=False,
            )  # fmt: skip
            return
        self.mean_P.lerp_(gradient_P, 1 - beta1)
        self.square_P.lerp_(gradient_P.square(), 1 - beta2)
        root = (1 - beta2 ** (step + 1)) ** 0.5
        # ε = 1e-8 of the paper, on the corrected square
        scaled_P = self.mean_P / self.square_P.sqrt().add_(1e-8 * root)
        self.vector_P.sub_(scaled_P.mul_(rate * root / (1 - beta1 ** (step + 1))))

    def state(self, name: str) -> dict[str, Tensor]:
        return {name: self.vector_P, f"{name}.mean": self.mean_P, f"{name}.square": self.square_P}

    @torch.no_grad()
    def load(self, name: str, state: dict[str, Tensor]) -> None:
        for key, mine in self.state(name).items():
            mine.copy_(state[key])


def together(gradients: Sequence[Tensor], told: Sequence[Tensor]) -> Tensor:
    """Gradients and the scalars `told` as one vector [P + T]."""
    return torch.cat([*(g.reshape(-1) for g in gradients), torch.stack([t.detach() for t in told])])


def averaged(gradients: Sequence[Tensor], told: Sequence[Tensor], reduce: Reduce) -> tuple[Tensor, list[float]]:
    """Gradients as one vector [P] and the scalars `told`, averaged over the workers in one go."""
    both = reduce(together(gradients, told))
    return both[: -len(told)], both[-len(told) :].tolist()


@torch.no_grad()
def follow(average_P: Tensor, vector_P: Tensor, images: int, half_life: float, share: float) -> None:
    """Moves a running average by `images` more images."""
    average_P.lerp_(vector_P, towards(images, half_life, share))


def towards(images: int, half_life: float, share: float) -> float:
    """How far a running average goes in `images` images. Its half-life (in images) grows from almost nothing to its
    full length over the first half of the training (`share` 0 to 0.5): the earliest weights are soon forgotten."""
    return float(1 - 0.5 ** (images / (half_life * min(1.0, 0.02 + share / 0.5))))


def named(module: nn.Module, vector_P: Tensor) -> dict[str, Tensor]:
    """A vector [P] as the module's parameters are named and shaped."""
    sizes = [p.numel() for p in module.parameters()]
    parts = torch.split(vector_P.detach().clone(), sizes)
    return {name: part.view(p.shape) for (name, p), part in zip(module.named_parameters(), parts, strict=True)}
