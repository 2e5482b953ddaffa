"""crawlers.choose: what is due, budgets to the page, and partitions of whole domains that lose nothing."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from invented import known_ones

from crawlers import choose
from crawlers.choose import When, due, keys_of, next_due, pages_first, partitions, spent, starts, within
from crawlers.known import AGAIN, DONE, HELD, ITEM, NEW, PAGE, Known, table
from crawlers.update import split
from crawlers.urls import domain

NOW, BEGAN = 60.0, 40.0


def is_due(one: Known, revisit: str, depth: int) -> bool:
    """`due`, of one record."""
    if one.kind == PAGE and one.depth > depth:
        return False
    if one.state == DONE and (one.asked is None or one.asked < BEGAN):
        return revisit == "all" or (revisit == "due" and (one.due is None or one.due <= BEGAN))
    return one.state == NEW or (one.state == AGAIN and (one.due is None or one.due <= NOW))


@given(known_ones(), st.sampled_from(["none", "due", "all"]), st.integers(0, 3))
def test_what_is_due_is_what_its_state_and_the_revisit_say(known, revisit, depth):
    flags = due(table(known), When(NOW, BEGAN, revisit), depth)
    assert flags.tolist() == [is_due(one, revisit, depth) for one in known]


@given(known_ones())
def test_the_next_url_that_waits_is_the_soonest_of_those_to_be_asked_again(known):
    waiting = [one.due for one in known if one.state == AGAIN and one.due is not None]
    assert next_due(split(table(known), 2)) == min(waiting, default=None)


@given(known_ones(), st.integers(1, 2))
def test_known_pages_are_asked_again_before_known_items(known, buckets):
    tables = split(table(known), buckets)
    flags = [due(one, When(NOW, BEGAN, "all"), 3) for one in tables]
    first = pages_first(tables, [flag.copy() for flag in flags])
    asked = [one for one in known if is_due(one, "all", 3)]
    if any(one.state == DONE and one.kind == PAGE for one in asked):
        asked = [one for one in asked if not (one.state == DONE and one.kind == ITEM)]
    got = [key for one, flag in zip(tables, first, strict=True) for key in one["key"].to_numpy()[flag].tolist()]
    assert sorted(got) == [one.key for one in asked]


def invented(hosts: list[str], each: int) -> list[Known]:
    """New pages and an item of every host, by key."""
    pages = [Known(f"http://{host}/{at}", PAGE, depth=at % 3) for host in hosts for at in range(each)]
    return sorted([*pages, *(Known(f"http://{host}/i.png", ITEM) for host in hosts)], key=lambda one: one.key)


@given(st.integers(0, 12), st.sampled_from([None, 1, 3]), st.integers(1, 2))
def test_budgets_are_kept_to_the_page_and_the_nearest_go_first(pages, host_pages, buckets):
    known = invented(["a.org", "b.org", "c.org"], 3)
    tables = split(table(known), buckets)
    flags = [np.ones(one.num_rows, bool) for one in tables]
    got = within(tables, flags, pages, {"a.org": 1, "b.org": 2}, host_pages)
    chosen = {key for one, flag in zip(tables, got, strict=True) for key in one["key"].to_numpy()[flag].tolist()}
    asked = [one for one in known if one.key in chosen]
    assert sum(one.kind == ITEM for one in asked) == 3, "items cost no pages"
    full = {name for name, spent in {"a.org": 1, "b.org": 2}.items() if host_pages is not None and spent >= host_pages}
    may = [one for one in known if one.kind == PAGE and one.host not in full]
    taken = [one for one in asked if one.kind == PAGE]
    nearest = sorted(may, key=lambda one: (one.depth, one.key))[:pages]
    assert sorted(one.key for one in taken) == sorted(one.key for one in nearest)


DOMAINS = ["a.org", "x.a.org", "b.co.uk", "y.b.co.uk:81", "127.0.0.1:80", "127.0.0.2:80", "c.org"]


@given(st.lists(st.sampled_from(DOMAINS), min_size=1, unique=True), st.integers(1, 3), st.integers(1, 4), st.data())
def test_each_domain_is_in_one_partition_and_nothing_is_lost_or_there_twice(hosts, buckets, workers, data):
    states = st.sampled_from([HELD, NEW, AGAIN, DONE])
    known = [replace(one, state=data.draw(states)) for one in invented(hosts, 2)]
    tables = split(table(known), buckets)
    flags = [due(one, When(NOW, BEGAN, "none"), 100) for one in tables]
    made = partitions(tables, flags, workers)
    lists = [partition.list() for partition in made]
    asked = [key for one in lists for key in one["key"].to_pylist()]
    assert sorted(asked) == [one.key for one in known if one.state in (NEW, AGAIN)]
    owners = [{domain(host) for host in one["host"].to_pylist()} for one in lists]
    assert sum(map(len, owners)) == len(set().union(*owners)), "no domain has two keepers"
    assert len(made) == min(workers, sum(map(len, owners)))
    for partition, mine, one in zip(made, owners, lists, strict=True):
        assert one["depth"].to_pylist() == sorted(one["depth"].to_pylist())
        settled = sorted(each.key for each in known if domain(each.host) in mine and each.state != HELD)
        assert keys_of(partition).tolist() == settled


def test_load_is_spread_evenly():
    known = [Known(f"http://{size}.org/{at}", PAGE) for size in (8, 5, 4, 3) for at in range(size)]
    made = partitions([table(known)], [np.ones(len(known), bool)], 2)
    assert sorted(partition.rows for partition in made) == [9, 11]


def test_a_partition_and_a_round_hold_no_more_than_they_may(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(choose, "MOST_URLS", 5)
    monkeypatch.setattr(choose, "MOST_IN_ROUND", 12)
    known = invented([f"{name}.org" for name in "abcd"], 6)
    tables = split(table(known), 2)
    made = partitions(tables, [np.ones(one.num_rows, bool) for one in tables], 1)
    lists = [partition.list() for partition in made]
    assert sum(one.num_rows for one in lists) == 12 and max(one.num_rows for one in lists) <= 5
    monkeypatch.setattr(choose, "MOST_URLS", 50)
    monkeypatch.setattr(choose, "MOST_IN_ROUND", 500)
    monkeypatch.setattr(choose, "MOST_HOSTS", 1)
    spread = Counter(
        len(partition.list()["host"].unique())
        for partition in partitions(tables, [np.ones(one.num_rows, bool) for one in tables], 1)
    )
    assert spread == {1: 4}


def test_starts_are_the_first_pages_where_they_were_and_where_they_moved_to():
    moved = Known("http://old.org/", PAGE, at="http://new.org/")
    known = [moved, Known("http://deep.org/", PAGE, depth=1), Known("http://cdn.org/i", ITEM)]
    assert set(starts([table(known)])) == {"old.org", "new.org"}
    assert set(starts([table([])])) == set()


def test_hosts_that_used_up_their_bytes_or_minutes_are_not_chosen():
    hosts = {"a.org": (1, 2_000_000, 0.0), "b.org": (1, 0, 90.0), "c.org": (9, 9, 9.0)}
    assert spent(hosts, 1.5, 1.0) == ["a.org", "b.org"]
    assert spent(hosts, None, 1.0) == ["b.org"] and spent(hosts, None, None) == []
