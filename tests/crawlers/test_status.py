"""crawlers.status: how a crawl stands, before, in the middle of a round, and at its end."""

import time
from typing import Any

import pytest
from fetching import crawl_of, crawled, image, page, quick

from crawlers import rounds
from crawlers.status import status


def small_site(site: Any) -> Any:
    far = site({"/two": page("/b.png"), "/b.png": image(b"B")}, "127.0.0.2")
    first = site({"/": page("/a.png", "/no.png", "http://[::1", links=(far.url + "two",)), "/a.png": image(b"A")})
    return first, far


def test_a_crawl_that_did_not_begin_says_so(site, job):
    told = status(crawl_of(job(site({}).url)))
    assert (told.state, told.rounds, told.due) == ("not begun", [], 0)


def test_a_finished_crawl_is_counted_by_round_state_outcome_and_host(site, job):
    first, far = small_site(site)
    said = job(first.url, scope="any")
    end = crawled(said)
    told = status(crawl_of(said))
    assert told.state == "done" and told.number == 0 and len(told.rounds) == end["rounds"] == 2
    assert [(one["pages"], one["items"], one["errors"]) for one in told.rounds] == [(1, 1, 1), (1, 1, 0)]
    assert told.urls == {"done": 5, "held": 1}
    assert told.outcomes == {"read": 2, "kept": 2, "http_status": 1, "invalid": 1}
    name = first.url.split("/")[2]
    assert (name, 3, 0, 1) in told.hosts and (far.url.split("/")[2], 2, 0, 0) in told.hosts
    assert told.due == 0 and told.next_due is not None and told.next_due > time.time() + 3600


def test_a_failure_that_passed_is_none(site, job):
    tries: list[int] = []

    def flaky() -> Any:
        tries.append(1)
        return image(b"A", 503 if len(tries) == 1 else 200)

    said = job(site({"/": page("/a.png"), "/a.png": flaky}).url)
    crawled(said)
    ((_, known, waiting, failed),) = status(crawl_of(said)).hosts
    assert len(tries) == 2 and (known, waiting, failed) == (2, 0, 0)


def test_a_crawl_that_stopped_between_rounds_counts_what_was_done(site, job):
    first, far = small_site(site)
    said = job(first.url, scope="any")

    def once(jobs: list[dict[str, Any]]) -> list[Any]:
        if any(far.url.split("/")[2] in one["spent"] or "round-00002" in one["folder"] for one in jobs):
            raise KeyboardInterrupt
        return quick(jobs)

    with pytest.raises(KeyboardInterrupt):
        rounds.run(crawl_of(said), once)
    told = status(crawl_of(said))
    assert told.state == "running or stopped"
    assert [one["pages"] for one in told.rounds] == [1, 0] and told.rounds[1]["chosen"] == 1
    assert told.urls == {"done": 3, "held": 1, "new": 1} and told.due == 1
    assert {host: waiting for host, _, waiting, _ in told.hosts}[far.url.split("/")[2]] == 1


def test_a_round_in_the_making_counts_its_committed_segments(site, job):
    first, _ = small_site(site)
    said = job(first.url, scope="any")

    def stopped(jobs: list[dict[str, Any]]) -> list[Any]:
        quick(jobs)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rounds.run(crawl_of(said), stopped)
    (one,) = status(crawl_of(said)).rounds
    assert (one["round"], one["pages"], one["items"], one["errors"]) == (1, 1, 1, 1)
