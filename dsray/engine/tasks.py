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

    Returns the results in order. A task whose worker dies is tried again, RETRIES times at most. With `gpus`, as many
    to each, the workers are actors: Ray ends the process of a task that had a GPU, and what it had loaded goes too.
    """
    import ray
    from ray.exceptions import RayError

    from dsray.engine.mailbox import Mailbox

    mailbox = Mailbox.remote()  # type: ignore[attr-defined]  # Ray adds it

    def do(index: int, item: Any, mailbox: Any) -> Any:
        return fn(item, lambda news: mailbox.post.remote((index, news)))

    if gpus:
        actor: Any = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=RETRIES, max_task_retries=RETRIES)(_Hand)
        hands = [actor.remote(do) for _ in range(max(1, min(len(items), int(connect.gpus() / gpus))))]
        refs = [hands[index % len(hands)].work.remote(index, item, mailbox) for index, item in enumerate(items)]
    else:
        task = ray.remote(num_cpus=1, max_retries=RETRIES)(do)
        refs = [task.remote(index, item, mailbox) for index, item in enumerate(items)]
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


class _Hand:
    """A worker that stays."""

    def __init__(self, do: Callable[..., Any]) -> None:
        self.do = do

    def work(self, index: int, item: Any, mailbox: Any) -> Any:
        return self.do(index, item, mailbox)
