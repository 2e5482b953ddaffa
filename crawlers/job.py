"""What a fetch process is asked to do: one JSON line, checked before anything is fetched."""

import json
from dataclasses import dataclass, field, replace
from typing import Any

from crawlers.urls import resolve
from dsray.errors import RecipeError

NAME = "dsray"


@dataclass(frozen=True)
class Budget:
    """When a crawl ends, whatever is left."""

    pages: int = 10_000
    depth: int = 100  # links from a start page
    mb: float = 10_000  # of payload
    minutes: float = 60


@dataclass(frozen=True)
class Job:
    """One partition of one crawl. The first field of `item` is the media, the others are its texts."""

    lake: str
    source: str
    key: str
    partition: str
    start: list[str]
    item: dict[str, str]
    follow: str = "a::attr(href)"
    budget: Budget = field(default_factory=Budget)
    allow_private: bool = False
    user_agent: str = ""
    respect_opt_out: bool = True
    max_mb: float = 20.0  # of one response, also when unpacked
    segment_mb: float = 64.0
    segment_s: float = 60.0
    concurrency: int = 8  # requests at once to a host

    @property
    def media(self) -> str:
        """The selector of the media."""
        return next(iter(self.item.values()))

    @property
    def texts(self) -> dict[str, str]:
        """Field → selector of the texts, sorted by name as a raw row has them."""
        return dict(sorted(list(self.item.items())[1:]))

    @property
    def agent(self) -> str:
        """What we call ourselves in every request."""
        return self.user_agent or f"{NAME} (no contact given: a crawl of private hosts)"

    @property
    def product(self) -> str:
        """The first word of `agent`: what robots.txt and agent-scoped opt-outs call us."""
        return self.agent.split("/")[0].split(" ")[0].lower()

    @property
    def folder(self) -> str:
        """Where this partition's segments are, in the lake."""
        return f"crawls/{self.source}/{self.key}/{self.partition}"


def parse(line: str | bytes) -> Job:
    """The job in a JSON line; keys that a fetch has no use for are ignored. Raises RecipeError."""
    said: dict[str, Any] = json.loads(line)
    known = {name: said[name] for name in Job.__dataclass_fields__ if name in said}
    limits = said.get("budget") or {}
    known["budget"] = Budget(**{name: limits[name] for name in Budget.__dataclass_fields__ if name in limits})
    job = Job(**known)
    for url in job.start:
        if resolve(url, "") is None:
            raise RecipeError(f"The start page {url!r} is not a URL that can be asked.", "Correct it in the recipe.")
    job = replace(job, start=[resolve(url, "") or url for url in job.start])
    for name, selector in [*job.item.items(), ("follow", job.follow)]:
        _check(name, selector)
    return job


def _check(name: str, selector: str) -> None:
    from cssselect import SelectorError
    from cssselect.xpath import ExpressionError
    from parsel.csstranslator import css2xpath

    try:
        css2xpath(selector)
    except (SelectorError, ExpressionError) as error:
        raise RecipeError(
            f"The selector of `{name}` is not CSS: {selector!r} ({error}).", "Correct it in the recipe."
        ) from error
