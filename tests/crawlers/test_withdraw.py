"""crawlers.withdraw: what a recrawl asks, what it makes anew, and what no page gives any more."""

import json
from typing import Any

import pytest
from fetching import Site, crawled, crawled_rows, image, news, page, path_of

HTML = {"Content-Type": "text/html"}


def told(job: dict[str, Any], before: dict[str, Any], end: dict[str, Any]) -> dict[str, Any]:
    """Path → error or payload, of the rows that a recrawl made."""
    found = news(job, before, end)
    assert len({row["url"] for row in found}) == len(found)
    return {path_of(row["url"]): row["error"] or row["payload"] for row in found}


def gallery() -> dict[str, Any]:
    """Two pages with two pictures each."""
    pictures = {f"/{name}.png": image(name.encode()) for name in "abcd"}
    return {"/": page("/a.png", "/b.png", links=("/two",)), "/two": page("/c.png", "/d.png"), **pictures}


def test_what_did_not_change_costs_one_conditional_request_and_makes_no_row(site, job):
    small: Site = site(gallery(), etags=True)
    said = job(small.url)
    first = crawled(said)
    small.hits.clear()
    end = crawled(said, number=1)
    assert told(said, first, end) == {} and end["shards"] == first["shards"]
    assert sorted(small.unchanged) == ["/", "/a.png", "/b.png", "/c.png", "/d.png", "/two"]
    contents = [path for path in small.hits if not path.endswith((".txt", ".json"))]
    assert sorted(contents) == sorted(small.unchanged)
    assert end["counts"]["unchanged"] == 4 and end["counts"].get("items", 0) == 0


def test_a_recrawl_without_validators_makes_no_row_of_the_same_bytes(site, job):
    said = job(site(gallery()).url)
    first = crawled(said)
    assert told(said, first, crawled(said, number=1)) == {}


def test_a_changed_item_makes_one_row_and_a_new_one_too(site, job):
    answers = gallery()
    said = job(site(answers, etags=True).url)
    first = crawled(said)
    answers |= {"/a.png": image(b"A2"), "/two": page("/c.png", "/d.png", "/e.png"), "/e.png": image(b"e")}
    second = crawled(said, number=1)
    assert told(said, first, second) == {"/a.png": b"A2", "/e.png": b"e"}
    assert told(said, second, crawled(said, number=2)) == {}


def test_a_removed_page_withdraws_its_items_and_a_returning_one_gives_them_back(site, job):
    answers = gallery()
    said = job(site(answers, etags=True).url)
    first = crawled(said)
    two = answers.pop("/two")
    second = crawled(said, number=1)
    assert told(said, first, second) == {"/two": "http_status", "/c.png": "gone", "/d.png": "gone"}
    (gone, *_) = [row for row in news(said, first, second) if row["error"] == "gone"]
    assert json.loads(gone["evidence"]) == {"signal": "page", "value": "http_status", "where": gone["page"]}
    assert gone["caption"] and gone["payload"] is None
    third = crawled(said, number=2)
    assert told(said, second, third) == {}, "it is withdrawn once"
    answers["/two"] = two
    assert told(said, third, crawled(said, number=3)) == {"/c.png": b"c", "/d.png": b"d"}


def test_an_item_that_its_page_names_no_more_is_gone(site, job):
    answers = gallery()
    said = job(site(answers, etags=True).url)
    first = crawled(said)
    answers["/two"] = page("/c.png")
    end = crawled(said, number=1)
    assert told(said, first, end) == {"/d.png": "gone"}
    assert json.loads(news(said, first, end)[0]["evidence"])["value"] == "names it no more"


def test_a_page_that_reserves_its_items_now_withdraws_them_as_opted_out(site, job):
    answers = gallery()
    said = job(site(answers, etags=True).url)
    first = crawled(said)
    answers["/two"] = page("/c.png", "/d.png", head='<meta name="robots" content="noai">')
    assert told(said, first, crawled(said, number=1)) == {"/c.png": "opted_out", "/d.png": "opted_out"}


def test_an_item_that_its_only_page_reserves_now_is_not_asked_again(site, job):
    answers = gallery()
    small: Site = site(answers, etags=True)
    said = job(small.url)
    first = crawled(said)
    answers["/two"] = page("/c.png", "/d.png", head='<meta name="robots" content="noai">')
    answers["/c.png"] = image(b"reserved")
    small.hits.clear()
    end = crawled(said, number=1)
    assert "/c.png" not in small.hits
    assert told(said, first, end) == {"/c.png": "opted_out", "/d.png": "opted_out"}


def test_an_item_opted_out_by_its_header_at_the_recrawl_gets_its_row(site, job):
    answers = gallery()
    said = job(site(answers, etags=True).url)
    first = crawled(said)
    answers["/a.png"] = image(b"other", X_Robots_Tag="noai")
    answers["/robots.txt"] = (200, {}, b"User-agent: *\nDisallow: /b.png\n")
    end = crawled(said, number=1)
    assert told(said, first, end) == {"/a.png": "opted_out", "/b.png": "robots"}
    assert told(said, end, crawled(said, number=2)) == {}, "the same refusal makes no second row"


def test_one_bad_day_withdraws_nothing(site, job):
    answers = gallery()
    said = job(site(answers, etags=True).url, retry={"times": 2, "wait_s": 0})
    first = crawled(said)
    answers |= {"/two": (503, {}, b""), "/a.png": (500, {}, b"")}
    assert told(said, first, crawled(said, number=1)) == {}


def test_a_caption_that_changed_makes_a_row_with_the_new_one(site, job):
    answers = gallery()
    small: Site = site(answers, etags=True)
    said = job(small.url)
    first = crawled(said)
    answers["/two"] = (200, HTML, page("/c.png", "/d.png")[2].replace(b"digit of /c.png", b"a new one"))  # type: ignore[index]
    small.hits.clear()
    end = crawled(said, number=1)
    assert small.hits.count("/c.png") == 1, "pages are asked first, so an item is asked once"
    (row,) = news(said, first, end)
    assert (row["url"], row["caption"], row["payload"]) == (small.url + "c.png", "a new one", b"c")
    assert told(said, end, crawled(said, number=2)) == {}


@pytest.mark.parametrize("order", [("/yes", "/no"), ("/no", "/yes")])
def test_an_item_is_kept_when_one_page_allows_it_whichever_is_read_first(site, job, order):
    first, last = order
    pages = {"/yes": ("", "/both.png"), "/no": ('<meta name="robots" content="noai">', "/both.png")}
    answers: dict[str, Any] = {"/": page(links=(first,)), "/both.png": image(b"B")}
    answers[first] = page(pages[first][1], head=pages[first][0], links=(last,))
    answers[last] = page(pages[last][1], head=pages[last][0])
    said = job(site(answers).url)
    begun = crawled(said)
    assert [row["payload"] for row in crawled_rows(said, begun).values()] == [b"B"]
    del answers["/yes"]
    assert told(said, begun, crawled(said, number=1)) == {"/yes": "http_status", "/both.png": "opted_out"}


def test_due_asks_only_what_is_due(site, job):
    small: Site = site(gallery(), etags=True)
    said = job(small.url)
    first = crawled(said)
    small.hits.clear()
    second = crawled(said, number=1, recrawl="due")
    assert small.hits == [] and second["shards"] == first["shards"]
    soon = {"revisit": {"first_hours": 0, "min_hours": 0}}
    crawled(said, source="mixed", budget={"pages": 1}, **soon)
    crawled(said, source="mixed")
    small.hits.clear()
    crawled(said, source="mixed", number=1, recrawl="due")
    asked = {path for path in small.hits if not path.endswith((".txt", ".json"))}
    assert asked == {"/", "/a.png", "/b.png"}


def test_a_removed_url_of_a_list_is_withdrawn_and_the_others_are_not(site, job, tmp_path):
    small: Site = site(gallery(), etags=True)
    path = tmp_path / "urls.csv"
    lines = [f"{small.url}{name}.png,picture {name}" for name in "abc"]
    path.write_text("\n".join(["url,caption", *lines, "no url,x"]))
    said = job(urls={"path": str(path), "texts": {"caption": "caption"}}, item={})
    first = crawled(said)
    got = crawled_rows(said, first)
    assert {path_of(url): (row["error"], row["caption"]) for url, row in got.items()} == {
        **{f"/{name}.png": (None, f"picture {name}") for name in "abc"}, "no url": ("invalid", "x")
    }  # fmt: skip
    path.write_text("\n".join(["url,caption", *lines[1:], "no url,x"]))
    assert told(said, first, crawled(said, number=1)) == {"/a.png": "gone"}


def test_texts_that_changed_in_a_list_make_a_row_and_a_url_that_is_there_twice_none(site, job, tmp_path):
    small: Site = site(gallery(), etags=True)
    path = tmp_path / "urls.csv"
    path.write_text(f"url,caption\n{small.url}a.png,one\n{small.url}b.png,two\n{small.url}a.png,again\n")
    said = job(urls={"path": str(path), "texts": {"caption": "caption"}}, item={})
    first = crawled(said)
    assert {row["caption"] for row in crawled_rows(said, first).values()} == {"one", "two"}
    second = crawled(said, number=1)
    assert told(said, first, second) == {}
    path.write_text(path.read_text().replace("two", "new"))
    third = crawled(said, number=2)
    assert [(row["caption"], row["payload"]) for row in news(said, second, third)] == [("new", b"b")]
