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


@dataclass(frozen=True)
class Worker:
    """What a training loop sees of the cluster."""

    rank: int
    world: int
    device: str
    reduce: Callable[["Tensor"], "Tensor"]  # the mean over all workers; every worker must call it
    post: Callable[[Any], None]  # news for the driver


Loop = Callable[[Worker], None]


def train(loop: Loop, *, name: str, workers: int, gpu: bool, hear: Callable[[Any], None]) -> None:
    """Runs `loop` on `workers` workers at once. When one dies, all start again (3 times at most): the loop resumes
    from its own checkpoints on the lake. Raises ClusterError, or the DsrayError that a worker raised."""
    import ray
    from ray.train import FailureConfig, ScalingConfig
    from ray.train.torch import TorchTrainer
    from ray.train.v2.api.config import LoggingConfig, RunConfig

    from dsray.engine.mailbox import Mailbox

    mailbox = Mailbox.remote()  # type: ignore[attr-defined]  # Ray adds it
    failed: list[BaseException] = []
    with tempfile.TemporaryDirectory(prefix="dsray-train-") as scratch:
        trainer = TorchTrainer(
            _on_worker,
            train_loop_config={"loop": loop, "mailbox": mailbox, "gpu": gpu},
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpu, resources_per_worker={"CPU": 1}),
            run_config=RunConfig(  # type: ignore[arg-type]  # v2 hides behind v1's names
                name=name,
                storage_path=scratch,
                failure_config=FailureConfig(max_failures=3),  # type: ignore[arg-type]
                logging_config=LoggingConfig(log_level="ERROR"),
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
    device = str(ray.train.torch.get_device()) if config["gpu"] else "cpu"

    def reduce(x: "Tensor") -> "Tensor":
        if world > 1:
            distributed.all_reduce(x)
            x /= world
        return x

    mailbox = config["mailbox"]
    config["loop"](Worker(rank, world, device, reduce, lambda news: mailbox.post.remote(news)))


def _why(error: BaseException) -> DsrayError:
    for failure in getattr(error, "worker_failures", {}).values():
        return cause(failure)
    return cause(error)
