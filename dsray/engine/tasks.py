"""Independent tasks on the cluster, with news while they run."""

from collections.abc import Callable, Sequence
from typing import Any

from dsray.engine.shards import cause

RETRIES = 8

Post = Callable[[Any], None]


def run_all(
    fn: Callable[[Any, Post], Any], items: Sequence[Any], hear: Callable[[int, Any], None], gpus: float = 0
) -> list[Any]:
    """`fn(item, post)` for every item, in parallel; what is posted reaches `hear(index, news)` in the driver.

    Returns the results in order. A task whose worker dies is tried again, RETRIES times at most.
    """
    import ray
    from ray.exceptions import RayError

    from dsray.engine.mailbox import Mailbox

    mailbox = Mailbox.remote()  # type: ignore[attr-defined]  # Ray adds it

    @ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)
    def task(index: int, item: Any, mailbox: Any) -> Any:
        return fn(item, lambda news: mailbox.post.remote((index, news)))

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
