"""What the figures of `gpu` measure: a device's matrix products, a training's steps, what a step computes."""

import time
from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

Step = Callable[[int], object]

WARM = 5  # steps of which three run as they come, one is recorded, and one more


def wait(device: str) -> None:
    """Until the device has done what it was given."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def rate(step: Step, rows: int, seconds: float, device: str, warm: int = 2) -> float:
    """Rows/s of steps of as many rows, by the clock, over at least two steps and `seconds`."""
    for number in range(warm):
        step(number)
    wait(device)
    start, done = time.perf_counter(), 0
    while done < 2 or time.perf_counter() - start < seconds:
        step(warm + done)
        done += 1
    wait(device)
    return rows * done / (time.perf_counter() - start)


def matrix_products(device: str, side: int, dtype: torch.dtype, seconds: float) -> float:
    """FLOP/s of products of square matrices: what the device can do at best."""
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    found = torch.empty_like(a)
    many = 20  # at once, so that launches don't count

    def step(number: int) -> None:
        for _ in range(many):
            torch.mm(a, b, out=found)
        wait(device)

    return rate(step, many, seconds, device) * 2 * side**3


class Count(TorchDispatchMode):
    """Adds up the formulas of PyTorch's FlopCounterMode, which itself cannot follow `autograd.grad`."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        formula = FORMULAS.get(func.overloadpacket)
        self.total += formula(*args, **(kwargs or {}), out_val=found) if formula else 0
        return found


def flops(call: Callable[[], Any]) -> int:
    """Multiplications and additions of the products and convolutions of one call, backward passes included."""
    with Count() as count:
        call()
    return int(count.total)


def _backward(slope: Tensor, x: Tensor, weight: Tensor, *rest: Any, out_val: Any) -> int:
    """Of a convolution's backward pass: as much as forward for each of the slopes at its input and its weight.

    PyTorch's own formula counts the weight's slope once a group too often.
    """
    wanted = rest[-1][:2]
    return 2 * slope.shape[0] * prod(slope.shape[2:]) * weight.numel() * sum(wanted)


FORMULAS = {**flop_registry, torch.ops.aten.convolution_backward: _backward}


def steps(training: Any) -> Step:
    """A training's steps as one worker makes them."""

    def alone(x: Tensor) -> Tensor:
        return x

    return lambda number: training.step(number, 0, 1, alone)
