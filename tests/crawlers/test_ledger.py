"""crawlers.ledger: nothing is asked or committed twice, whoever dies and whoever goes on."""

from collections import Counter
from pathlib import Path

import pytest

from crawlers.job import Job
from crawlers.known import DONE, ITEM, PAGE, Known, table
from crawlers.ledger import Ledger
from crawlers.rows import Outcome
from crawlers.sites import ROBOTS, SiteFile
from dsray.errors import ContestedError
from dsray.lake import shards
from dsray.lake.store import open_store


def test_a_ledger_goes_on_from_its_segments_and_one_of_two_writers_wins(tmp_path: Path):
    store = open_store(f"file://{tmp_path}")
    store.create("list", shards.encode(table([Known("http://a/", PAGE)])))
    job = Job(store.url, "s", "crawls/s/k/round-00001/0000", "list")
    first, second = Ledger(store, job), Ledger(store, job)
    assert [one.url for one in first.pending()] == ["http://a/"]
    news = [Known("http://a/1", PAGE, depth=1), Known("http://b/elsewhere", ITEM)]
    done = Outcome(Known("http://a/", PAGE, state=DONE), None, news)
    robots = SiteFile("http://a", ROBOTS, 0.0, 404)
    first.commit([done], Counter(pages=1), [robots])
    with pytest.raises(ContestedError):
        second.commit([done], Counter(pages=1))
    resumed = Ledger(store, job)
    assert [one.url for one in resumed.pending()] == ["http://a/1"]
    assert all(one.key in resumed.seen() for one in (done.known, *news))
    assert Known("http://a/2", PAGE).key not in resumed.seen()
    assert resumed.counts["pages"] == 1 and resumed.end() is None and resumed.sites == [robots]
    end = resumed.finish(left=1, seconds={"a": 2.5})
    assert end == first.finish(left=1) == resumed.end()
    assert end["hosts"] == {"a": [1, 0, 2.5]} and end["left"] == 1
