"""crawlers.frontier and crawlers.ledger: every URL once, within the budget, nothing committed again."""

import json
from collections import Counter
from pathlib import Path

import pytest

from crawlers.frontier import Frontier
from crawlers.job import parse
from crawlers.ledger import Ledger
from crawlers.rows import ITEM, PAGE, Found, Outcome
from dsray.errors import ContestedError
from dsray.lake.store import open_store

JOB = {
    "lake": "file:///x", "source": "s", "key": "k" * 64, "partition": "0000", "start": ["http://a/"],
    "item": {"m": "img::attr(src)"}, "budget": {"pages": 2, "depth": 1}, "allow_private": True,
}  # fmt: skip


def frontier(**budget: float) -> Frontier:
    job = parse(json.dumps({**JOB, "budget": {**JOB["budget"], **budget}}).encode())
    return Frontier(job.budget, Counter(), lambda found: found)  # type: ignore[arg-type, return-value]


def test_items_come_before_pages_and_each_url_once():
    queue = frontier()
    queue.add(
        [Found("http://a/1", PAGE), Found("http://a/i", ITEM), Found("http://a/1", PAGE), Found("http://a/2", PAGE)]
    )
    asked = [queue.next_request() for _ in range(4)]
    assert [one.url if one else None for one in asked] == ["http://a/i", "http://a/1", "http://a/2", None]


def test_what_is_too_deep_or_beyond_the_pages_is_not_asked():
    queue = frontier(pages=1)
    assert queue.add([Found("http://a/deep", PAGE, depth=2)]) == []
    queue.add([Found("http://a/1", PAGE), Found("http://a/2", PAGE)])
    assert queue.next_request() is not None and queue.next_request() is None and len(queue) == 1


def test_a_ledger_goes_on_from_its_segments_and_one_of_two_writers_wins(tmp_path: Path):
    store, job = open_store(f"file://{tmp_path}"), parse(json.dumps(JOB).encode())
    first, second = Ledger(store, job), Ledger(store, job)
    assert [one.url for one in first.pending] == ["http://a/"]
    done = Outcome(Found("http://a/", PAGE), None, [Found("http://a/1", PAGE, depth=1)])
    first.commit([done], Counter(pages=1))
    with pytest.raises(ContestedError):
        second.commit([done], Counter(pages=1))
    resumed = Ledger(store, job)
    assert [one.url for one in resumed.pending] == ["http://a/1"]
    assert resumed.counts["pages"] == 1 and resumed.end() is None
    assert resumed.finish(left=1) == first.finish(left=1) == resumed.end()
