"""Independent tasks on the cluster, with news while they run."""

from collections.abc import Callable, Sequence
from typing import Any

from dsray.engine import connect
from dsray.engine.shards import cause

RETRIES = 8

Post = Callable[[Any], None]


def run_all(
    fn: Callable[[Any, Post], Any], items: Sequence[Any], hear: Callable[[int, Any], None], gpus: float = 0
) -> list[Any]:
    """`fn(item, post)` for every item, in parallel; what is posted reaches `hear(index, news)` in the driver.

    Returns the results in order.
    """
    import ray
    from ray.exceptions import RayError

    from dsray.engine.mailbox import Mailbox

    mailbox = Mailbox.remote()  # type: ignore[attr-defined]  # Ray adds it

    def do(said: tuple[int, Any, Any]) -> Any:
        index, item, mailbox = said
        return fn(item, lambda news: mailbox.post.remote((index, news)))

    refs = _started(do, [(index, item, mailbox) for index, item in enumerate(items)], gpus)
    waiting = list(refs)
    try:
        while waiting:
            _, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=0.3)
            for index, news in ray.get(mailbox.take.remote()):
                hear(index, news)
        return list(ray.get(refs))
    except RayError as error:
        raise cause(error) from error
    finally:
        ray.kill(mailbox)


def map_all(fn: Callable[[Any], Any], items: Sequence[Any], ended: Callable[[Any], None], gpus: float = 0) -> list[Any]:
    """`fn(item)` for every item, in parallel; each result reaches `ended` in the driver as it comes.

    Returns the results in order. Without news on the way it costs no process for them.
    """
    import ray
    from ray.exceptions import RayError

    refs = _started(fn, items, gpus)
    waiting = list(refs)
    try:
        while waiting:
            done, waiting = ray.wait(waiting)
            ended(ray.get(done[0]))
        return list(ray.get(refs))
    except RayError as error:
        raise cause(error) from error


def _started(fn: Callable[[Any], Any], items: Sequence[Any], gpus: float) -> list[Any]:
    """A reference to each result. A task whose worker dies is tried again, RETRIES times at most.

    With `gpus`, as many to each, the workers are actors: Ray ends the process of a task that had a GPU, and what it
    had loaded goes too.
    """
    import ray

    if not gpus:
        task: Any = ray.remote(num_cpus=1, max_retries=RETRIES)(fn)
        return [task.remote(item) for item in items]
    actor: Any = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=RETRIES, max_task_retries=RETRIES)(_Hand)
    hands = [actor.remote(fn) for _ in range(max(1, min(len(items), int(connect.gpus() / gpus))))]
    return [hands[index % len(hands)].work.remote(item) for index, item in enumerate(items)]


class _Hand:
    """A worker that stays."""

    def __init__(self, fn: Callable[[Any], Any]) -> None:
        self.fn = fn

    def work(self, item: Any) -> Any:
        return self.fn(item)
