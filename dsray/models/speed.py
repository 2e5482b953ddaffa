"""What makes a step faster on an NVIDIA GPU and leaves it the same step, up to rounding; steps run as CUDA graphs."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from dsray.models.flat import Number

Made = TypeVar("Made")

_WARM = 3  # calls as they come before one is recorded: libraries choose and allocate in them
_GRAPHS = 4  # shapes of inputs, beyond which calls run as they come


@dataclass(frozen=True)
class Speed:
    """Each may be on or off by itself; `benchmarks/gpu.py` measures what each is worth."""

    half: bool = False  # bfloat16 where an architecture can bear it; weights and their updates stay float32
    channels_last: bool = False
    search: bool = False  # cuDNN times its algorithms and takes the fastest
    fused: bool = False  # Adam in one kernel
    graphs: bool = False  # the whole step as one CUDA graph


def best(device: str) -> Speed:
    """Everything on CUDA; on CPUs, where results are bit-equal, only what does not round."""
    on = torch.device(device).type == "cuda"
    return Speed(half=on, channels_last=True, search=on, fused=on, graphs=on)


def numbers(dials: Sequence[Number]) -> Tensor:
    """What a step's schedules set, as an input of the step."""
    return torch.tensor(dials, dtype=torch.float64)


def dialled(numbers_K: Tensor) -> list[Number]:
    """The same inside the step: tensors where CUDA has recorded it and they change between replays, else floats."""
    return numbers_K.tolist() if numbers_K.is_cpu else list(numbers_K.float().unbind())


class Ahead(Generic[Made]):
    """What the host makes for a step, made while the device is busy with the step before where that was expected."""

    def __init__(self, make: Callable[..., Made]) -> None:
        self.make = make
        self.kept: dict[tuple[int, ...], Made] = {}

    def __call__(self, *key: int) -> Made:
        return self.kept.pop(key) if key in self.kept else self.make(*key)

    def expect(self, *key: int) -> None:
        self.kept = {key: self.make(*key)}


class Recorded(nn.Module):
    """A function of tensors. With `on`, CUDA records it, once for each shape of its inputs, and replays it as a graph.

    It may change other tensors in place, but not wait for the device. Recording does not run it, so a call is always
    one run; where it cannot be recorded it runs as it is, after a warning. Inputs may lie on the host.
    """

    def __init__(self, function: Callable[..., Tensor], device: str, on: bool) -> None:
        super().__init__()
        self.function, self.device, self.on = function, device, on
        self.attempt = 0  # a training that broke tries again: what was recorded is not that
        self.calls: dict[Any, int] = {}
        self.graphs: dict[Any, tuple[Any, tuple[Tensor, ...], Tensor]] = {}

    def forward(self, *inputs: Tensor) -> Tensor:
        shapes = (self.attempt, *((x.shape, x.dtype) for x in inputs))
        if not self.on or (shapes not in self.graphs and len(self.graphs) == _GRAPHS):
            return self.function(*inputs)
        if self.calls.setdefault(shapes, 0) < _WARM:
            self.calls[shapes] += 1
            return self._aside(*inputs)
        if shapes not in self.graphs:
            try:
                self.graphs[shapes] = self._record(*inputs)
            except RuntimeError as error:
                warnings.warn(f"This step runs without a CUDA graph: {error}", stacklevel=2)
                self.on = False
                return self.function(*inputs)
        graph, mine, found = self.graphs[shapes]
        for x, given in zip(mine, inputs, strict=True):
            x.copy_(given)
        graph.replay()
        return found.clone()

    def _aside(self, *inputs: Tensor) -> Tensor:
        """A run on another stream than the default one, on inputs that lie on the device, as a recording will be."""
        here, side = torch.cuda.current_stream(self.device), torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        side.wait_stream(here)
        with torch.cuda.stream(side):
            found = self.function(*(x.to(self.device) for x in inputs))
        here.wait_stream(side)
        return found

    def _record(self, *inputs: Tensor) -> tuple[Any, tuple[Tensor, ...], Tensor]:
        """(the graph, the inputs that it reads, the output that it writes)."""
        mine = tuple(x.to(self.device, copy=True) for x in inputs)
        graph = torch.cuda.CUDAGraph()
        # the outer context gives the stream back where a recording fails; other threads may go on meanwhile
        with (
            torch.cuda.stream(torch.cuda.current_stream(self.device)),
            torch.cuda.graph(graph, capture_error_mode="thread_local"),
        ):
            found = self.function(*mine)
        return graph, mine, found
