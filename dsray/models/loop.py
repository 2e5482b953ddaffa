"""Steps, checkpoints, resume, and what is done when a training breaks: the same for every model. No Ray, no storage.

A training that breaks (a loss or a weight is no number, a discriminator tells nothing any more) goes back to an
*anchor*, a step at an eighth of the whole, and tries again from there with other noise and half the rate. Where it went
back to is in every state. So a run is a function of (configuration, data, seed): when checkpoints are made, which of
them a resume finds, and how many workers share the steps change nothing but the order of sums.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from dsray.errors import DsrayError, LakeError
from dsray.models.background import Background, copied
from dsray.models.flat import Reduce

State = dict[str, Tensor]

ANCHORS, GRIDS = 8, 4  # a training has; each quarter is an anchor
MARK = "run"  # in a state: what the loop adds to it

_REPORT_STEPS, _REPORT_S = 50, 2.0
_KEEP_S = 120.0  # what a killed run loses at most, or an eighth if that is less
_MOST_TURNS = 2
_QUIET_STEPS, _QUIET_SHARE = 100, 0.05  # of steps in a row in which a discriminator may tell nothing


class Training(Protocol):
    """One model being trained. A step is a function of the state, its number and the keyed data: nothing else.

    It may have `collapsed(told)`: whether these losses say that one network can learn nothing from the other; and
    `once = True`: a step cannot be undone, since it spent privacy. Parts with an `attempt` (Feed, Flat) are told it.
    """

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


class Turn(NamedTuple):
    """A training that broke: at which step, where it goes on from, and why."""

    step: int
    to: int
    why: str


@dataclass(frozen=True)
class Past:
    """What a run remembers beside the training's own state."""

    turns: tuple[int, ...] = ()  # the steps that it went back to
    quiet: int = 0  # steps in a row of a discriminator that told nothing

    def attempt(self, step: int) -> int:
        """Which attempt the step of that number is; 0 is the first."""
        return sum(turn <= step for turn in self.turns)

    def mark(self) -> Tensor:
        return torch.tensor([self.quiet, *self.turns])

    @staticmethod
    def of(state: State) -> "Past":
        quiet, *turns = state[MARK].tolist() if MARK in state else [0]
        return Past(tuple(turns), quiet)

    def led_to(self, step: int, past: "Past") -> bool:
        """Whether a run with these turns came through a state of that step and past."""
        return sorted(t for t in past.turns if t < step) == sorted(t for t in self.turns if t < step)


def alone(x: Tensor) -> Tensor:
    """The mean over one worker."""
    return x


def anchors(steps: int, parts: int = ANCHORS) -> set[int]:
    """The numbers of steps done at which each part of a training ends."""
    return {math.ceil(steps * n / parts) for n in range(1, parts + 1)}


def train(
    training: Training,
    *,
    rank: int = 0,
    world: int = 1,
    reduce: Reduce = alone,
    saved: Callable[[], Iterable[tuple[int, State]]] = lambda: (),
    resumed: Callable[[int, State, Turn | None], None] = lambda step, state, turn: None,
    save: Callable[[int, State], None] | None = None,
    show: Callable[[int, State], None] | None = None,
    report: Callable[[dict[str, float]], None] = lambda news: None,
    clock: Callable[[], float] = time.monotonic,
) -> State:
    """Runs the steps that are left after the first of `saved` (steps done, state; newest first) → the weights.

    `resumed` hears what is gone on from, at the start and after a turn; `report` about every 50 steps or 2 s step,
    images, images_per_s and the losses. Rank 0 calls `save` at anchors and every 2 minutes, and before it, at each
    quarter, `show` with the weights: both in a thread behind the steps, on copies, all done before the end. Raises
    DsrayError when training breaks for the third time, and what `save` raises.
    """
    if world > training.batch:
        raise DsrayError(f"{world} workers cannot share a batch of {training.batch} images.", "Ask for fewer workers.")
    stops, shown = anchors(training.steps), anchors(training.steps, GRIDS)
    begin = _Begin(training, rank, world, reduce, saved, resumed)
    done, past = begin.newest()
    said_at, said, kept_at = clock(), done, clock()
    weights: State | None = None
    with Background() as behind:
        while done < training.steps:
            _tell(training, past.attempt(done))
            told = training.step(done, rank, world, reduce)
            done += 1
            past = _listened(training, past, told)
            if why := _broken(training, past, told, done in stops):
                behind.wait()  # what it writes may be what is gone back to
                done, past = begin.again(done, past, why, stops)
                said_at, said = clock(), done
                continue
            now = clock()
            if done - said >= _REPORT_STEPS or now - said_at >= _REPORT_S or done in stops:
                speed = (done - said) * training.batch / max(now - said_at, 1e-9)
                report({"step": done, "images": done * training.batch, "images_per_s": speed, **told})
                said_at, said = now, done
            if rank == 0 and save and (done in stops or now - kept_at >= _KEEP_S):
                weights = training.weights() if show and done in shown else None
                shows = partial(show, done, copied(weights)()) if show and weights is not None else None
                behind.do(_keeping(done, copied({**training.state(), MARK: past.mark()}), save, shows))
                said_at = kept_at = clock()  # saving is not training
    return weights if weights is not None else training.weights()


def _keeping(
    step: int, state: Callable[[], State], save: Callable[[int, State], None], show: Callable[[], None] | None
) -> Callable[[], None]:
    def keep() -> None:
        if show:
            show()
        save(step, state())

    return keep


def _tell(training: Training, attempt: int) -> None:
    for part in vars(training).values():
        if hasattr(part, "attempt"):
            part.attempt = attempt


def _listened(training: Training, past: Past, told: Mapping[str, float]) -> Past:
    collapsed = getattr(training, "collapsed", None)
    return replace(past, quiet=past.quiet + 1 if collapsed and collapsed(told) else 0)


def _broken(training: Training, past: Past, told: Mapping[str, float], look: bool) -> str:
    """Why training cannot go on like this, or nothing. The same on every rank, since the losses and states are."""
    for name, value in told.items():
        if not math.isfinite(value):
            return f"{name} is {value}"
    if past.quiet >= max(_QUIET_STEPS, _QUIET_SHARE * training.steps):
        return f"the discriminator has told the generator nothing for {past.quiet} steps"
    for name, tensor in training.state().items() if look else ():
        if not torch.isfinite(tensor).all():
            return f"{name} has weights that are no numbers"
    return ""


class _Begin:
    """Where to go on from: every rank the same."""

    def __init__(
        self,
        training: Training,
        rank: int,
        world: int,
        reduce: Reduce,
        saved: Callable[[], Iterable[tuple[int, State]]],
        resumed: Callable[[int, State, Turn | None], None],
    ) -> None:
        self.training, self.rank, self.world, self.reduce = training, rank, world, reduce
        self.saved, self.resumed = saved, resumed
        self.first = copied(training.state())()  # a second `start` might draw other private noise

    def newest(self) -> tuple[int, Past]:
        step, state = self._found(lambda step, past: True)
        self._load(step, state, None)
        return step, Past.of(state)

    def again(self, step: int, past: Past, why: str, stops: set[int]) -> tuple[int, Past]:
        """After `step` steps it broke: back to the last anchor before the trouble began, as a new attempt. From an
        earlier state, or the very first, the way there is gone again."""
        if getattr(self.training, "once", False) or len(past.turns) == _MOST_TURNS:
            raise DsrayError(f"Training broke at step {step}: {why}.", "Try another seed or a smaller preset.")
        anchor = max(stop for stop in {0, *stops} if stop < step and stop <= step - past.quiet)
        now = Past((*past.turns, anchor))
        found, state = self._found(lambda step, past: step <= anchor and now.led_to(step, past))
        self._load(found, state, Turn(step, anchor, why))
        return found, replace(now, quiet=Past.of(state).quiet)

    def _found(self, fits: Callable[[int, Past], bool]) -> tuple[int, State]:
        """Rank 0 chooses; the others look only then, when it has written all, and take the same."""
        step, state = self._first(fits) if self.rank == 0 else (0, self.first)
        if self.world == 1:
            return step, state
        where = next(iter(self.training.state().values())).device
        wanted = round(self.reduce(torch.tensor([step * self.world], dtype=torch.float64, device=where)).item())
        if self.rank > 0 and wanted > 0:
            step, state = self._first(lambda step, past: step == wanted and fits(step, past))
        if step != wanted:
            raise LakeError(f"Worker {self.rank} cannot read the checkpoint of step {wanted}.", "Run again.")
        return step, state

    def _first(self, fits: Callable[[int, Past], bool]) -> tuple[int, State]:
        every = ((step, state) for step, state in self.saved() if fits(step, Past.of(state)))
        return next(every, (0, self.first))

    def _load(self, step: int, state: State, turn: Turn | None) -> None:
        self.training.load({name: tensor for name, tensor in state.items() if name != MARK})
        self.resumed(step, state, turn)
