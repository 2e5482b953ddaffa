"""Checkpoints of a training on the lake. One that cannot be read is taken away, and the one before is gone on from.

models/<key>/checkpoints/<attempt>-<step>.safetensors   the state: the last two, and the last two at anchors
                         <attempt>-<step>.json          the story so far: the curve, and where training turned back
                         <attempt>-<step>.png           a sample grid, at each quarter
                         <attempt>-<step>.npy           more samples, to be measured; the first are those of the grid
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from dsray import keys
from dsray.lake.store import Missing, Store

if TYPE_CHECKING:
    from torch import Tensor

    from dsray.models.loop import State

_KEPT = 2
_NAME = re.compile(r"/(\d)-(\d{9})\.(json|npy|png|safetensors)$")


class Place(NamedTuple):
    """Where a training was; ordered as a training goes."""

    attempt: int
    step: int


class Unreadable(Exception):
    """Why a checkpoint cannot be gone on from."""


@dataclass
class Story:
    """How a training went: points of the curve, and the turns that it took."""

    points: list[dict[str, float]] = field(default_factory=list)
    turns: list[dict[str, Any]] = field(default_factory=list)

    def until(self, step: int) -> "Story":
        return Story([point for point in self.points if point["step"] <= step], list(self.turns))


@dataclass(frozen=True)
class Checkpoints:
    """Those of one model."""

    store: Store
    key: str

    def write(self, place: Place, state: "State", story: Story, anchors: set[int]) -> None:
        """The story first, the state last: a state that can be read has all that belongs to it."""
        self.store.create(self.name(place, "json"), json.dumps([story.points, story.turns]).encode())
        self.store.create(self.name(place, "safetensors"), packed(state))
        there = self.places("safetensors")
        kept = {*there[-_KEPT:], *[p for p in there if p.step in anchors][-_KEPT:]}
        for old in there:
            if old not in kept:
                self.remove(old)

    def readable(self, like: "State", remove: bool, say: Callable[[str], None]) -> Iterator[tuple[Place, "State"]]:
        """Those that a training with a state like that can go on from, newest first."""
        for place in reversed(self.places("safetensors")):
            try:
                yield place, self._read(place, like)
            except Missing:  # replaced by a newer one meanwhile
                continue
            except Unreadable as why:
                say(f"the checkpoint of step {place.step} {why}: going on from the one before")
                if remove:  # so that it can be made again
                    self.remove(place)

    def end(self, steps: int) -> str | None:
        """The name of the state after the last step, if it is there: what another training can begin with."""
        ended = [place for place in self.places("safetensors") if place.step == steps]
        return self.name(ended[-1], "safetensors") if ended else None

    def begin(self, steps: int, like: "State") -> "State":
        """The state after the last step. Raises Unreadable."""
        name = self.end(steps)
        if name is None:
            raise Unreadable("is gone")
        try:
            return self._state(name, like)
        except Missing:
            raise Unreadable("is gone") from None

    def _read(self, place: Place, like: "State") -> "State":
        state = self._state(self.name(place, "safetensors"), like)
        try:
            self.story(place)
        except (ValueError, KeyError, TypeError):
            raise Unreadable("is damaged") from None
        return state

    def _state(self, name: str, like: "State") -> "State":
        from safetensors import SafetensorError
        from safetensors.torch import load

        data, head = self.store.read(name), self.store.head(name)
        if head and head.sha256 and head.sha256 != keys.digest(data):
            raise Unreadable("is damaged")
        try:
            state = load(data)
        except (SafetensorError, ValueError, KeyError, TypeError):
            raise Unreadable("is damaged") from None
        if any(part not in state or state[part].shape != tensor.shape for part, tensor in like.items()):
            raise Unreadable("is of another model")
        return state

    def story(self, place: Place) -> Story:
        points, turns = json.loads(self.store.read(self.name(place, "json")))
        return Story(points, turns)

    def last(self) -> Story:
        """The story as far as the last checkpoint has it that can be read."""
        for place in reversed(self.places("json")):
            with suppress(Missing, ValueError, TypeError):
                return self.story(place)
        return Story()

    def grids(self, form: str = "png") -> list[dict[str, Any]]:
        """The sample grids, or samples (`npy`), in the order of training, without those that it turned back from."""
        turns = [turn["to"] for turn in self.last().turns]
        found = [place for place in self.places(form) if place.attempt == sum(to < place.step for to in turns)]
        return [{"step": place.step, "name": self.name(place, form)} for place in found]

    def name(self, place: Place, kind: str) -> str:
        return f"{self._folder()}{place.attempt}-{place.step:09d}.{kind}"

    def places(self, kind: str) -> list[Place]:
        found = (_NAME.search(entry.name) for entry in self.store.list(self._folder()))
        return sorted(Place(int(m[1]), int(m[2])) for m in found if m and m[3] == kind)

    def remove(self, place: Place) -> None:
        self.store.delete(self.name(place, "safetensors"))
        self.store.delete(self.name(place, "json"))

    def _folder(self) -> str:
        return f"models/{self.key}/checkpoints/"


def packed(state: "dict[str, Tensor]") -> bytes:
    """Tensors as safetensors."""
    from safetensors.torch import save

    return save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()})
