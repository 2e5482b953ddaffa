"""One page of a JSON API: its items by JMESPath, and the next page, from the answer or its Link header."""

import json
import re
from functools import lru_cache
from typing import Any

import jmespath
from scrapy.http import Response

from crawlers.job import Job
from crawlers.spiders.read import API, Link, Read

_NEXT = re.compile(r"<([^>]+)>\s*;[^,]*\brel=\"?next\"?")


def read(response: Response, job: Job) -> Read:
    """The items and the next page. Raises ValueError when the answer is not JSON."""
    assert job.api is not None
    answer = json.loads(response.body)
    found = _at(job.api["items"], answer) or []
    items = []
    for one in found if isinstance(found, list) else [found]:
        url = _at(job.api["url"], one)
        if isinstance(url, str):
            items.append((url, {name: _text(_at(path, one)) for name, path in sorted(job.api["texts"].items())}))
    return Read(items, [Link(url, API) for url in _next(response, answer, job.api["next"])], [])


def _next(response: Response, answer: Any, path: str) -> list[str]:
    if path:
        url = _at(path, answer)
        return [url] if isinstance(url, str) and url else []
    header = b", ".join(response.headers.getlist("Link")).decode("latin-1")
    found = _NEXT.search(header)
    return [found[1]] if found else []


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) or value is None else json.dumps(value, ensure_ascii=False)


def _at(path: str, value: Any) -> Any:
    return _compiled(path).search(value)


@lru_cache(maxsize=256)
def _compiled(path: str) -> Any:
    return jmespath.compile(path)
