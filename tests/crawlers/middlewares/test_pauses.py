"""crawlers.middlewares.pauses: Retry-After in seconds or as a date, capped, and kept for the whole host."""

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from fetching import crawled, crawled_rows, image, page, path_of
from hypothesis import given
from hypothesis import strategies as st
from scrapy.http import Response

from crawlers.middlewares.pauses import retry_after

NOW = 1_800_000_000.0
DAY = 86400.0


def after(said: str | bytes | None) -> float:
    headers = {} if said is None else {"Retry-After": said}
    return retry_after(Response("http://a.org/", status=429, headers=headers), NOW)


@given(st.integers(0, 10**9))
def test_seconds_count_from_now_to_a_day_at_most(seconds):
    assert after(str(seconds)) == NOW + min(seconds, DAY)


@given(st.integers(-(10**6), 10**6))
def test_a_date_is_that_moment_but_a_day_from_now_at_most(seconds):
    date = format_datetime(datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=seconds), usegmt=True)
    assert after(date) == NOW + min(seconds, DAY)


@pytest.mark.parametrize("said", [None, "", "soon", "-5", "1.5", "Mon, 99 Jan", b"\xb2"])
def test_what_is_neither_is_not_said(said):
    assert after(said) == 0.0


@given(st.text(alphabet="0123456789 ,:-+GMTJanFri", max_size=30))
def test_no_header_breaks_us(said):
    assert after(said) <= NOW + DAY
    assert after(f"Fri, 31 Dec 9999 23:59:{said}") <= NOW + DAY
    assert after("9" * 5000) in (0.0, NOW + DAY)


def test_a_host_that_asks_for_a_pause_gets_it_from_every_request(site, job):
    times: list[float] = []

    def busy_once():
        times.append(time.monotonic())
        return (429, {"Retry-After": "1"}, b"") if len(times) == 1 else image(b"x")

    pictures = [f"/{at}.png" for at in range(5)]
    small = site({"/": page(*pictures), **dict.fromkeys(pictures, busy_once)})
    got = crawled_rows(job(small.url, concurrency=1))
    assert {path_of(url): row["payload"] for url, row in got.items()} == dict.fromkeys(pictures, b"x")
    assert times[1] - times[0] > 0.9


def test_a_long_pause_is_left_to_a_later_round_and_costs_the_other_hosts_nothing(site, job):
    busy = site({"/": page("/b.png"), "/b.png": (503, {"Retry-After": "3600"}, b"")}, "127.0.0.2")
    good = site({"/": page("/a.png"), "/a.png": image(b"A")})
    said = job(busy.url, good.url, budget={"minutes": 0.5})
    began = time.monotonic()
    end = crawled(said)
    assert time.monotonic() - began < 20
    assert {path_of(url) for url in crawled_rows(said, end)} == {"/a.png"}
    assert busy.hits.count("/b.png") == 1
