"""crawlers.frontier: items first, hosts in turn, nothing beyond a budget, and one slow host delays itself only."""

import time
from collections import Counter

from scrapy import Request

from crawlers.frontier import Frontier
from crawlers.job import Budget, Job
from crawlers.known import ITEM, PAGE, Known


def frontier(concurrency: int = 8, **budget: float) -> Frontier:
    job = Job("file:///x", "s", "f", "l", concurrency=concurrency, budget=Budget(**budget))  # type: ignore[arg-type]
    return Frontier(job, Counter(), lambda known: Request(known.url, meta={"known": known}))


def asked(queue: Frontier, count: int) -> list[str | None]:
    return [one.url if (one := queue.next_request()) else None for _ in range(count)]


def test_items_come_before_pages():
    queue = frontier()
    for known in (Known("http://a/1", PAGE), Known("http://a/i", ITEM), Known("http://a/2", PAGE)):
        queue.push(known)
    assert len(queue) == 3
    assert asked(queue, 4) == ["http://a/i", "http://a/1", "http://a/2", None]
    assert not queue.has_pending_requests() and len(queue) == 0


def test_what_is_too_deep_or_beyond_a_budget_is_not_asked():
    queue = frontier(pages=2, depth=1, host_pages=1)
    assert not queue.push(Known("http://a/deep", PAGE, depth=2))
    for at in range(3):
        queue.push(Known(f"http://a/{at}", PAGE))
        queue.push(Known(f"http://b/{at}", PAGE))
        queue.push(Known(f"http://c/{at}", PAGE))
    assert asked(queue, 3) == ["http://a/0", "http://b/0", None]
    assert not queue.has_pending_requests() and len(queue) == 7
    queue.push(Known("http://c/i", ITEM))
    assert asked(queue, 2) == ["http://c/i", None]


def test_hosts_take_turns_and_none_has_more_requests_than_it_may():
    queue = frontier(concurrency=2)
    slow, quick = ([Known(f"http://{host}/{at}", ITEM) for at in range(3)] for host in ("slow", "quick"))
    for known in (*slow, *quick):
        queue.push(known)
    assert asked(queue, 5) == ["http://slow/0", "http://quick/0", "http://slow/1", "http://quick/1", None]
    queue.done(quick[0])
    assert asked(queue, 2) == ["http://quick/2", None]


def test_a_paused_host_waits_and_the_others_do_not():
    queue = frontier()
    paused, other = Known("http://paused/1", ITEM), Known("http://other/1", ITEM)
    queue.push(paused)
    queue.push(other)
    queue.pause("paused", time.time() + 0.2)
    assert asked(queue, 2) == ["http://other/1", None]
    assert queue.has_pending_requests()
    time.sleep(0.25)
    assert asked(queue, 1) == ["http://paused/1"]


def test_a_host_can_be_emptied():
    queue = frontier()
    for at in range(3):
        queue.push(Known(f"http://a/{at}", ITEM))
    assert [known.url for known in queue.drain("a")] == ["http://a/0", "http://a/1", "http://a/2"]
    assert len(queue) == 0 and asked(queue, 1) == [None]


def test_a_host_whose_minutes_are_over_is_asked_no_more():
    queue = frontier(concurrency=1, host_minutes=0.002)
    first, second = Known("http://a/1", ITEM), Known("http://a/2", ITEM)
    queue.push(first)
    queue.push(second)
    assert asked(queue, 1) == ["http://a/1"]
    time.sleep(0.15)
    queue.done(first)
    queue.push(Known("http://b/1", ITEM))
    assert asked(queue, 2) == ["http://b/1", None]
    assert not queue.has_pending_requests()
