"""Ray Train without the actors that a training here does not use: each is a Python that imports Ray, 2.6 s of CPU."""

from typing import Any

from ray.train import UserCallback
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from dsray.errors import DsrayError, LakeError

_UNUSED = frozenset({"DatasetsCallback", "PlacementGroupCleanerCallback"})
"""Shards of Ray Data, which cannot keep a keyed order; and a watch for a controller that dies and leaves its workers'
place taken, while here the driver ends with the controller, and all with the driver."""


class Trainer(DataParallelTrainer):
    """Workers that are started, watched, replaced and resized. They find each other by themselves: without Ray's torch
    backend the controller does not import torch, another 2.8 s."""

    def _create_default_callbacks(self) -> list[Any]:
        return [c for c in super()._create_default_callbacks() if type(c).__name__ not in _UNUSED]


class Verdict(UserCallback):
    """Ends a training at an error that would be the same next time. A lake's may pass, and so may a dead worker."""

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        for error in worker_exceptions.values():
            if isinstance(error, DsrayError) and not isinstance(error, LakeError):
                raise error
