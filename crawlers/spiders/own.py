"""An own spider, `module:Class`: its `parse(response)` yields items (dicts) and links (URLs or Scrapy Requests).

The first field of an item is its media's URL, the others are texts. Crawling, politeness, consent and commits stay
dsray's. So a callback other than `parse` is refused: it would be lost with the process.
"""

import importlib
from functools import lru_cache
from typing import Any

from scrapy import Request
from scrapy.http import Response

from crawlers import extract
from crawlers.job import Job
from crawlers.spiders.read import Link, Read
from dsray.errors import RecipeError


def read(response: Response, job: Job) -> Read:
    """What its `parse` says of a page. Raises ValueError for a yield that is neither item nor link."""
    assert job.spider is not None
    items: list[tuple[str, dict[str, str | None]]] = []
    links: list[Link] = []
    for one in load(job.spider).parse(response) or ():
        if isinstance(one, dict):
            media, *texts = one.items()
            unknown = sorted({name for name, _ in texts} - set(job.fields))
            if unknown:
                raise ValueError(f"the spider's item has a field {unknown[0]!r} that the recipe's `texts` lack")
            items.append((str(media[1]), {name: None if value is None else str(value) for name, value in texts}))
        elif isinstance(one, Request):
            name = getattr(one.callback, "__name__", "parse")
            if name != "parse":
                raise ValueError(f"the spider's callback {name!r} is not `parse`")
            links.append(Link(one.url))
        elif isinstance(one, str):
            links.append(Link(one))
        else:
            raise ValueError(f"the spider yielded {type(one).__name__}: neither an item (dict) nor a link")
    root = getattr(getattr(response, "selector", None), "root", None)
    if root is None or isinstance(root, str):
        return Read(items, links, [])
    return Read(items, links, list(extract.robots(root, job.product)), extract.licence(root))


@lru_cache(maxsize=4)
def load(name: str) -> Any:
    """An instance of the class. Raises RecipeError when there is none of that name, or it has no `parse`."""
    module, _, kind = name.partition(":")
    try:
        spider = getattr(importlib.import_module(module), kind)()
    except (ImportError, AttributeError, TypeError) as error:
        raise RecipeError(f"The spider {name!r} cannot be had: {error}.", "Write `module:Class`; the module must be "
                          "importable from where dsray runs.") from error  # fmt: skip
    if not callable(getattr(spider, "parse", None)):
        raise RecipeError(f"The spider {name!r} has no `parse(response)`.", "Give it one.")
    return spider
