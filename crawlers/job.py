"""What a fetch process is asked to do: one JSON line, checked before anything is fetched."""

import json
import time
from dataclasses import dataclass, field
from typing import Any

from dsray.errors import RecipeError

NAME = "dsray"

Spent = tuple[int, int, float]
"""Of one host: pages asked, bytes of payload, seconds."""


@dataclass(frozen=True)
class Budget:
    """What this partition may spend in this round, whatever is left of the crawl's own budget."""

    pages: int = 10_000
    depth: int = 100  # links from a start page
    mb: float = 10_000  # of payload
    host_pages: int | None = None  # of one host, over all rounds
    host_mb: float | None = None
    host_minutes: float | None = None


@dataclass(frozen=True)
class Job:
    """One partition of one round. The objects that it names are `choose`'s, see crawlers/rounds.py."""

    lake: str
    source: str
    folder: str  # where this partition's segments are, in the lake
    list: str  # the fetch list: KNOWN records
    seen: str = ""  # sorted keys that need not be found again, uint64
    hosts: str = ""  # sorted hashes of hosts and `*.domain` that links may lead to, uint64; empty: any
    sites: str = ""  # robots.txt and the like that are still fresh, JSON
    spent: dict[str, Spent] = field(default_factory=dict)  # host → what earlier rounds took
    pauses: dict[str, float] = field(default_factory=dict)  # host → until when it wants to be left alone
    seconds: float = float("inf")  # to fetch for, from when this process starts
    ends_at: float = float("inf")  # at the latest, in seconds since 1970; `parse` makes it the sooner of both
    insist: bool = True  # commit even when nobody answered
    item: dict[str, str] = field(default_factory=dict)
    follow: str = "a::attr(href)"
    fields: tuple[str, ...] = ()  # text columns of the rows, sorted
    api: dict[str, Any] | None = None
    spider: str | None = None
    discover: bool = False  # sitemaps that robots.txt names
    javascript: bool = False
    warc: bool = False
    budget: Budget = field(default_factory=Budget)
    tries: int = 3
    wait_s: float = 10.0
    first_s: float = 86400.0  # before the first revisit
    min_s: float = 3600.0
    max_s: float = 7776000.0
    allow_private: bool = False
    user_agent: str = ""
    respect_opt_out: bool = True
    max_mb: float = 20.0  # of one response, also when unpacked
    timeout_s: float = 60.0
    segment_mb: float = 24.0
    segment_s: float = 60.0
    concurrency: int = 8  # requests at once to a host
    delay_s: float = 0.0

    @property
    def media(self) -> str:
        """The selector of the media."""
        return next(iter(self.item.values()))

    @property
    def texts(self) -> dict[str, str]:
        """Field → selector of the texts."""
        return dict(sorted(list(self.item.items())[1:]))

    @property
    def agent(self) -> str:
        """What we call ourselves in every request."""
        return self.user_agent or f"{NAME} (no contact given: a crawl of private hosts)"

    @property
    def product(self) -> str:
        """The first word of `agent`: what robots.txt and agent-scoped opt-outs call us."""
        return self.agent.split("/")[0].split(" ")[0].lower()

    def backoff(self, tries: int) -> float:
        """When to ask again after so many failures, in seconds since 1970."""
        return float(time.time() + self.wait_s * 4 ** max(0, tries - 1))


def parse(line: str | bytes) -> Job:
    """The job in a JSON line. Raises RecipeError for a selector that is none."""
    said: dict[str, Any] = json.loads(line)
    said["budget"] = Budget(**(said.get("budget") or {}))
    said["ends_at"] = min(said.get("ends_at", float("inf")), time.time() + said.get("seconds", float("inf")))
    said["fields"] = tuple(said.get("fields", ()))
    job = Job(**said)
    check(job.item, job.follow)
    return job


def check(item: dict[str, str], follow: str) -> None:
    """Are the selectors CSS? Raises RecipeError."""
    from cssselect import SelectorError
    from cssselect.xpath import ExpressionError
    from parsel.csstranslator import css2xpath

    for name, selector in [*item.items(), ("follow", follow)]:
        try:
            css2xpath(selector)
        except (SelectorError, ExpressionError) as error:
            raise RecipeError(
                f"The selector of `{name}` is not CSS: {selector!r} ({error}).", "Correct it in the recipe."
            ) from error
