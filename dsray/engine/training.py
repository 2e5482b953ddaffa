"""Synchronous data-parallel training on Ray Train: the loop gets its rank, device and an averaging all-reduce."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING, Any

from dsray.engine.shards import cause
from dsray.errors import DsrayError

if TYPE_CHECKING:
    from torch import Tensor

_FAILURES = 3
_ELASTIC_FAILURES = 100
"""How often workers may be lost: of a number that is fixed seldom, of one that may change as often as machines go."""


@dataclass(frozen=True)
class Worker:
    """What a training loop sees of the cluster."""

    rank: int
    world: int
    device: str
    reduce: Callable[["Tensor"], "Tensor"]  # the mean over all workers; every worker must call it
    post: Callable[[Any], None]  # news for the driver


Loop = Callable[[Worker], None]


def train(loop: Loop, *, name: str, workers: int | tuple[int, int], gpu: bool, hear: Callable[[Any], None]) -> None:
    """Runs `loop` on `workers` workers at once; with (least, most), on as many as the cluster has room for, more or
    fewer as machines come and go. When one dies or the number changes, all start again: the loop resumes from its own
    checkpoints on the lake. Raises ClusterError, or the DsrayError that a worker raised."""
    import ray
    from ray.train import FailureConfig
    from ray.train.v2.api.config import LoggingConfig, RunConfig, ScalingConfig

    from dsray.engine.mailbox import Mailbox
    from dsray.engine.trainer import Trainer, Verdict

    mailbox = Mailbox.remote()  # type: ignore[attr-defined]  # Ray adds it
    failed: list[BaseException] = []
    failures = _FAILURES if isinstance(workers, int) else _ELASTIC_FAILURES
    with tempfile.TemporaryDirectory(prefix="dsray-train-") as scratch:
        trainer = Trainer(
            _on_worker,
            train_loop_config={"loop": loop, "mailbox": mailbox, "gpu": gpu},
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpu, resources_per_worker={"CPU": 1}),
            run_config=RunConfig(  # type: ignore[arg-type]  # v2 hides behind v1's names
                name=name,
                storage_path=scratch,
                failure_config=FailureConfig(max_failures=failures),  # type: ignore[arg-type]
                logging_config=LoggingConfig(log_level="ERROR"),
                callbacks=[Verdict()],
            ),
        )
        fit = Thread(target=_fit, args=(trainer, failed), daemon=True)
        fit.start()
        while fit.is_alive():
            fit.join(timeout=0.5)
            for news in ray.get(mailbox.take.remote()):
                hear(news)
        for news in ray.get(mailbox.take.remote()):
            hear(news)
        ray.kill(mailbox)
    if failed:
        raise _why(failed[0]) from failed[0]


def _fit(trainer: Any, failed: list[BaseException]) -> None:
    try:
        trainer.fit()
    except Exception as error:  # handed to the driver's thread, which raises it
        failed.append(error)


def _on_worker(config: dict[str, Any]) -> None:
    import ray.train
    import torch
    from torch import distributed

    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    torch.set_num_threads(1) if not config["gpu"] else None
    device = "cuda:0" if config["gpu"] else "cpu"  # a worker sees its own GPU only
    if world > 1:
        _join(rank, world, "nccl" if config["gpu"] else "gloo")

    def reduce(x: "Tensor") -> "Tensor":
        if world > 1:
            distributed.all_reduce(x)
            x /= world
        return x

    mailbox = config["mailbox"]
    config["loop"](Worker(rank, world, device, reduce, lambda news: mailbox.post.remote(news)))


def _join(rank: int, world: int, backend: str) -> None:
    """The workers meet at a port of the first one's machine, which the system picks, so that it is free."""
    import ray
    from ray.train import collective
    from torch.distributed import TCPStore, init_process_group

    mine, first = ray.util.get_node_ip_address(), None  # type: ignore[no-untyped-call]
    if rank == 0:
        first = TCPStore(mine, 0, world, is_master=True, wait_for_workers=False)
    host, port = collective.broadcast_from_rank_zero((mine, first.port if first else 0))
    meeting = first or TCPStore(host, port, world, is_master=False)
    init_process_group(backend, store=meeting, rank=rank, world_size=world)


def _why(error: BaseException) -> DsrayError:
    """Our own error among those of the workers, else the first."""
    failures = [getattr(error, "controller_failure", None), *getattr(error, "worker_failures", {}).values(), error]
    found = [cause(failure) for failure in failures if failure is not None]
    return next((one for one in found if type(one).__name__ != "ClusterError"), found[0])
