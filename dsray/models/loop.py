"""Steps, checkpoints, resume: the same for every model. No Ray, no storage: the caller gives `reduce` and `save`."""

import math
import time
from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from dsray.errors import DsrayError
from dsray.models.flat import Reduce

State = dict[str, Tensor]

_REPORT_STEPS = 50
_REPORT_S = 2.0


class Training(Protocol):
    """One model being trained. A step is a function of the state, its number and the keyed data: nothing else."""

    steps: int  # in the whole training
    batch: int  # images a step, over all workers

    def step(self, step: int, rank: int, world: int, reduce: Reduce) -> dict[str, float]:
        """One global step; this rank computes its slice of the batch. Returns the losses, the same on every rank."""
        ...

    def state(self) -> State:
        """All that a bit-exact resume needs: views, not copies."""
        ...

    def load(self, state: State) -> None: ...

    def weights(self) -> State:
        """What `sample` needs, at any step: a function of the state and the data, a VAE's fitted prior included."""
        ...


def alone(x: Tensor) -> Tensor:
    """The mean over one worker."""
    return x


def train(
    training: Training,
    *,
    rank: int = 0,
    world: int = 1,
    reduce: Reduce = alone,
    saved: tuple[int, State] | None = None,
    save: Callable[[int, State], None] = lambda step, state: None,
    report: Callable[[dict[str, float]], None] = lambda news: None,
    checkpoints: int = 4,
) -> State:
    """Runs the steps that are left after `saved` (steps done, state) and returns the weights.

    `save` is called on every rank after the same steps, the last one among them; `report` about every 50 steps or 2 s
    with step, images, images_per_s and the losses. Raises DsrayError when a loss is no longer a number.
    """
    if world > training.batch:
        raise DsrayError(f"{world} workers cannot share a batch of {training.batch} images.", "Ask for fewer workers.")
    done = 0
    if saved is not None:
        done, state = saved
        training.load(state)
    stops = {math.ceil(training.steps * n / checkpoints) for n in range(1, checkpoints + 1)}
    said_at, said = time.monotonic(), done
    for step in range(done, training.steps):
        told = training.step(step, rank, world, reduce)
        for name, value in told.items():
            if not math.isfinite(value):
                raise DsrayError(
                    f"Training broke at step {step}: {name} is {value}.", "Try another seed or a smaller preset."
                )
        now, here = time.monotonic(), step + 1
        if here - said >= _REPORT_STEPS or now - said_at >= _REPORT_S or here in stops:
            speed = (here - said) * training.batch / max(now - said_at, 1e-9)
            report({"step": here, "images": here * training.batch, "images_per_s": speed, **told})
            said_at, said = now, here
        if here in stops:
            save(here, training.state())
            said_at = time.monotonic()  # saving is not training
    return training.weights()
