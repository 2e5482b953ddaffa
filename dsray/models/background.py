"""What goes on behind a training: one piece of work at a time in a thread, on copies that the steps cannot change."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import torch
from torch import Tensor


class Background:
    """One thread, and at most one piece of work: who brings the next waits, and meets the error of the last."""

    def __enter__(self) -> "Background":
        self._pool = ThreadPoolExecutor(1, "background")
        self._last: Future[None] | None = None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._pool.shutdown(wait=True)
        if error is None:
            self.wait()

    def do(self, work: Callable[[], None]) -> None:
        self.wait()
        self._last = self._pool.submit(work)

    def wait(self) -> None:
        """Until nothing is left to do. Raises what the last piece raised."""
        last, self._last = self._last, None
        if last is not None:
            last.result()


def copied(tensors: Mapping[str, Tensor]) -> Callable[[], dict[str, Tensor]]:
    """A copy on the CPU, as it is now; calling gives it. A GPU copies into pinned memory, in its own time."""
    with torch.no_grad():
        copies = {
            name: torch.empty(t.shape, dtype=t.dtype, pin_memory=t.is_cuda).copy_(t, non_blocking=True)
            for name, t in tensors.items()
        }
    if not any(t.is_cuda for t in tensors.values()):
        return lambda: copies
    done = torch.cuda.Event()  # type: ignore[no-untyped-call]
    done.record()

    def settled() -> dict[str, Tensor]:
        done.synchronize()
        return copies

    return settled
