"""crawlers.seeds: a crawl begins with its last one, the recipe's starts and its list; mistakes are told at once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fetching import AGENT, ITEM, crawl_of

from crawlers import rounds, seeds, update
from crawlers.known import HELD, NEW, PAGE, Known, records
from crawlers.known import ITEM as MEDIA
from crawlers.rounds import Crawl
from dsray.errors import RecipeError, SourceError

START = "http://a.org/"
BEGIN = {"base": None, "began": 0.0, "revisit": "none"}


def sown(tmp_path: Path, **more: Any) -> tuple[Crawl, list[Known], dict[str, Any]]:
    """The crawl, its first records, and round 0."""
    crawl = crawl_of({"lake": f"file://{tmp_path}/lake", "item": ITEM, "user_agent": AGENT, **more})
    state = seeds.sow(crawl, BEGIN)
    return crawl, [one for known in rounds.tables_of(crawl.store, state["known"]) for one in records(known)], state


def test_every_start_is_asked_as_what_it_is(tmp_path):
    api = {"start": ["http://a.org/api"]}
    _, known, state = sown(tmp_path, start=[START, "http://A.org", "http://b.org/x#y"], api=api,
                           sitemaps=["discover", "http://a.org/s.xml"])  # fmt: skip
    assert {(one.url, one.kind, one.depth, one.state) for one in known} == {
        (START, PAGE, 0, NEW), ("http://b.org/x", PAGE, 0, NEW), ("http://a.org/s.xml", "sitemap", 0, NEW),
        ("http://a.org/api", "api", 0, NEW),
    }  # fmt: skip
    assert state["round"] == 0 and state["urls"] == len(known) == 4


def test_a_start_that_is_no_url_is_a_mistake_in_the_recipe(tmp_path):
    with pytest.raises(RecipeError, match="user:word@a"):
        sown(tmp_path, start=["http://user:word@a.org/"])


def test_a_list_gives_items_with_their_texts_and_holds_what_is_no_url(tmp_path):
    path = tmp_path / "urls.csv"
    first = "http://a.org/1.png"
    path.write_text(f"link,words,x\n{first},one,x\n http://a.org/2.png ,,x\nnone,three,x\n{first},again,x\n")
    urls = {"path": str(path), "url": "link", "texts": {"caption": "words"}}
    crawl, known, state = sown(tmp_path, item={}, urls=urls)
    told = {one.url: (one.kind, one.state, one.outcome, one.texts["caption"] or None) for one in known}
    assert told == {
        "http://a.org/1.png": (MEDIA, NEW, None, "one"), "http://a.org/2.png": (MEDIA, NEW, None, None),
        "none": (MEDIA, HELD, "invalid", "three"),
    }  # fmt: skip
    assert all(one.page and one.page.endswith("/urls.csv") and one.depth == 0 for one in known)
    listed = np.frombuffer(crawl.store.read(state["listed"]), np.uint64).tolist()
    assert listed == sorted(listed) and set(listed) == {one.key for one in known}


def test_a_list_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(SourceError, match=r"none\.csv"):
        sown(tmp_path, item={}, urls={"path": str(tmp_path / "none.csv")})


def test_many_urls_are_in_buckets_and_none_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(update, "BUCKET_ROWS", 10)
    monkeypatch.setattr(seeds, "_CHUNK", 7)
    path = tmp_path / "urls.txt"
    urls = [f"http://a.org/{at}.png" for at in range(50)]
    path.write_text("\n".join(urls))
    crawl, known, state = sown(tmp_path, item={}, urls={"path": str(path)})
    assert {one.url for one in known} == set(urls) and len(known) == 50
    buckets = [one["key"].to_numpy() for one in rounds.tables_of(crawl.store, state["known"])]
    assert len(buckets) == 8
    assert all((keys % 8 == at).all() and (np.diff(keys) > 0).all() for at, keys in enumerate(buckets))
