"""News from workers to the driver: a small actor that keeps what was posted until it is taken."""

from typing import Any

import ray


@ray.remote(num_cpus=0)
class Mailbox:
    """Posted by many, taken by one. Bounded: when nobody takes, the oldest news goes."""

    def __init__(self, limit: int = 10_000) -> None:
        self.limit = limit
        self.letters: list[Any] = []

    def post(self, letter: Any) -> None:
        self.letters = [*self.letters[-self.limit + 1 :], letter]

    def take(self) -> list[Any]:
        letters, self.letters = self.letters, []
        return letters
