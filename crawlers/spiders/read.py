"""What reading a page gives, whatever kind of page it is."""

from typing import NamedTuple

from crawlers.known import PAGE

SITEMAP, API = "sitemap", "api"


class Link(NamedTuple):
    """A URL as written, and as what it is to be read."""

    url: str
    kind: str = PAGE


class Read(NamedTuple):
    """Items as (media URL as written, texts), links, what the page says to robots, and its licence."""

    items: list[tuple[str, dict[str, str | None]]]
    links: list[Link]
    directives: list[tuple[str, str]]
    licence: str | None = None
