"""Joins a Ray cluster, or starts a quiet one on this machine. Ray is imported at the first need, not before."""

import atexit
import logging
import os
import secrets
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread, current_thread, main_thread
from types import FrameType
from typing import Any

from dsray.errors import ClusterError

MEMORY = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_MMAP_THRESHOLD_": str(2**28),
    "MALLOC_TRIM_THRESHOLD_": str(2**29),
    "MALLOC_ARENA_MAX": "1",
}
"""Environment of workers: they keep the memory that they freed. Else each step of a training and each shard asks the
kernel for zeroed pages anew, a tenth of all time (DECISIONS.md). A cluster's machines set it themselves."""

RAYLET = {"RAY_idle_worker_killing_time_threshold_ms": "30000"}
"""Environment of raylets: workers live on between two stages. Else those beyond one a core end after a second, and the
next stage starts them anew. A cluster's machines set it themselves too."""


@contextmanager
def connected(address: str | None = None, cpus: int | None = None) -> Iterator[None]:
    """A Ray session: the cluster at `address` or RAY_ADDRESS, else one of `cpus` cores on this machine.

    Inside an existing session it does nothing. Raises ClusterError when the cluster cannot be reached or started.
    """
    address = address or os.environ.get("RAY_ADDRESS")
    _quiet()
    if not address and "ray" not in sys.modules:
        _private_token()  # Ray reads its mode when it is imported
    import ray

    if ray.is_initialized():
        yield
        return
    try:
        with _held():
            if address:
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
            else:
                _start_local(cpus)
    except Exception as error:  # Ray raises bare Exception too
        reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        if address:
            raise ClusterError(
                f"The Ray cluster at {address} cannot be joined: {reason}.",
                "Check the address and RAY_AUTH_TOKEN, or leave RAY_ADDRESS unset.",
            ) from error
        raise ClusterError(f"Ray cannot be started here: {reason}.", "Run again to go on from here.") from error
    _tune_data()
    over = Event()
    if not address:
        from ray._private import worker

        node: Any = worker._global_node
        Thread(target=_watch, args=[node, *node.all_processes["raylet"], over], daemon=True).start()
        atexit.register(over.set)  # called before Ray's own, which ends the raylet
    try:
        yield
    finally:
        over.set()
        atexit.unregister(over.set)
        ray.shutdown()


@contextmanager
def _held() -> Iterator[None]:
    """Holds SIGINT and SIGTERM back while Ray starts; a second one is let through.

    Ray forks, and what a handler raises in that moment is lost and leaves the lock of `logging` taken: the build would
    go on, and hang (DECISIONS.md). Ray also puts handlers of its own in place of the caller's, in Python and in C++.
    """
    from ray._private import ray_constants, utils

    if current_thread() is not main_thread():
        yield
        return
    handlers = {int(number): signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    ours = {number: handler for number, handler in handlers.items() if callable(handler)}
    came: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if len(came) > 1:
            ours[number](number, frame)

    for number in ours:
        signal.signal(number, hold)
    rays = utils.set_sigterm_handler
    if signal.SIGTERM in ours:
        utils.set_sigterm_handler = lambda _: None
        ray_constants.RAY_DISABLE_FAILURE_SIGNAL_HANDLER = True
    try:
        yield
    finally:
        utils.set_sigterm_handler = rays
        for number, handler in ours.items():
            signal.signal(number, handler)
        if came:
            ours[came[0]](came[0], None)


def _watch(node: Any, raylet: Any, over: Event) -> None:
    """Ends this process with a sentence when its raylet has died. Ray would end it within seconds too, from C++, with
    exit code 1 and a stack trace or no word at all."""
    import ray

    raylet.process.wait()  # not now and then: Ray's words begin some milliseconds later
    if over.is_set() or not ray.is_initialized() or "raylet" not in node.all_processes:
        return  # Ray was told to end it
    error = ClusterError("Ray's own process on this machine, the raylet, died.", "Run again to go on from here.")
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # closed, or nobody reads it
            stream.flush()
    os.write(2, f"dsray: {error}\n".encode())
    os._exit(error.exit_code)


def gpus() -> int:
    """How many GPUs the cluster has."""
    import ray

    return int(ray.cluster_resources().get("GPU", 0))  # type: ignore[no-untyped-call]


def cpus() -> int:
    """How many CPUs the cluster has, at least 1."""
    import ray

    return max(1, int(ray.cluster_resources().get("CPU", 1)))  # type: ignore[no-untyped-call]


def memory() -> float:
    """Bytes that the cluster has for tasks."""
    import ray

    return float(ray.cluster_resources().get("memory", 0))  # type: ignore[no-untyped-call]


def _quiet() -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("RAY_TRAIN_METRICS_ENABLED", "0")
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # of its own actor of statistics, when that was restarted
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS", "0")
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")  # every training ends on the next check
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")  # an actor a start; a checkpoint is never far
    warnings.filterwarnings("ignore", category=FutureWarning, module="ray")


def _start_local(cpus: int | None) -> None:
    import ray

    for name, value in {**MEMORY, **RAYLET, "RAY_enable_metrics_collection": "0"}.items():  # nobody reads metrics here
        os.environ.setdefault(name, value)
    ray.init(
        num_cpus=cpus or os.cpu_count(),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        configure_logging=False,
    )


def _private_token() -> None:
    """Token authentication on, unless somebody chose; in a file for us alone, as Ray would not write it."""
    if os.environ.setdefault("RAY_AUTH_MODE", "token") != "token":
        return
    path = Path.home() / ".ray" / "auth_token"
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH") or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))


def _tune_data() -> None:
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.target_max_block_size = None  # a block is a shard or a partition, whole
    context.print_on_execution_start = False
    for name in ("ray", "ray.data", "ray.train"):  # after the import, which sets them
        logging.getLogger(name).setLevel(logging.ERROR)
