"""The engine in this process, without Ray: a whole build takes a fraction of a second, and runs in one known order.

Only what hands work to Ray is replaced. What a worker does with it (`_work`: read, map, put), the plan of a stage, the
exchange's cutting and joining, and the lake are the real ones. But nothing waits for the disk: that guards against a
machine's crash, which no test makes, and takes two thirds of the time.
"""

import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from dsray.engine import connect, exchange, shards, tasks, training
from dsray.engine.exchange import Handle, Here, Input
from dsray.engine.shards import Map, Progress, Work
from dsray.engine.training import Loop, Worker
from dsray.lake.shards import Receipt
from dsray.lake.store import Store

_ROOM = 2**30


@contextmanager
def inline() -> Iterator[None]:
    """Every build in here runs in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connect, "connected", lambda address=None, cpus=None: nullcontext())
        patch.setattr(connect, "cpus", lambda: 2)
        patch.setattr(connect, "gpus", lambda: 0)
        patch.setattr(shards, "_make", _make)
        patch.setattr(shards, "_tries", lambda: 0)
        patch.setattr(exchange, "Cluster", InTurn)
        patch.setattr(tasks, "run_all", _run_all)
        patch.setattr(tasks, "map_all", _map_all)
        patch.setattr(training, "train", _train)
        patch.setattr(os, "fsync", lambda file: None)
        yield


def in_memory() -> str | None:
    """Where temporary folders are memory, if there is room: making files takes a fifth of the time of small builds."""
    shared = Path("/dev/shm")
    return str(shared) if shared.is_dir() and shutil.disk_usage(shared).free > _ROOM else None


class InTurn(Here):
    """Rounds in this process, one after the other."""

    def each(self, inputs: Sequence[Input], fn: Callable[..., pa.Table]) -> list[Handle]:
        return [fn(*arguments) for arguments in inputs]


def _make(
    store: Store, todo: Sequence[tuple[int, Work]], fn: Map, progress: Progress, light: bool
) -> dict[int, Receipt]:
    made: dict[int, Receipt] = {}
    for index, work in todo:
        row = shards._work({"works": json.dumps([[index, asdict(work)]])}, store, fn)
        if row["failure"]:
            raise pickle.loads(row["failure"])
        made |= {place: Receipt(**receipt) for place, receipt in json.loads(row["receipts"])}
        progress(sum(receipt.rows for receipt in made.values()), len(todo) - len(made))
    return made


def _run_all(
    fn: Callable[[Any, tasks.Post], Any], items: Sequence[Any], hear: Callable[[int, Any], None], gpus: float = 0
) -> list[Any]:
    return [fn(item, lambda news, index=index: hear(index, news)) for index, item in enumerate(items)]


def _map_all(
    fn: Callable[[Any], Any], items: Sequence[Any], ended: Callable[[Any], None], gpus: float = 0
) -> list[Any]:
    found = []
    for item in items:
        found.append(fn(item))
        ended(found[-1])
    return found


def _train(loop: Loop, *, name: str, workers: int | tuple[int, int], gpu: bool, hear: Callable[[Any], None]) -> None:
    torch.set_num_threads(1)  # as a worker does: with another number some machines round otherwise
    loop(Worker(0, 1, "cpu", lambda x: x, hear))
