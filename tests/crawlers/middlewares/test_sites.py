"""crawlers.middlewares.sites: what a site's own files forbid is not asked, and each file is asked for once."""

import json
from typing import Any

from fetching import crawled, crawled_rows, image, news, page, path_of

FILES = ("/robots.txt", "/.well-known/tdmrep.json", "/ai.txt")
TDM = (200, {}, json.dumps([{"location": "/t*", "tdm-reservation": 1}]).encode())


def test_each_file_forbids_with_its_evidence_and_is_asked_for_once(site, job):
    small = site({
        "/robots.txt": (200, {}, b"User-agent: dsray\nDisallow: /r\n"), "/.well-known/tdmrep.json": TDM,
        "/ai.txt": (200, {}, b"User-agent: *\nDisallow: *.gif\n"),
        "/": page("/r.png", "/t.png", "/a.gif", "/ok.png", links=("/text",)), "/text": page(), "/ok.png": image(b"K"),
    })  # fmt: skip
    got = crawled_rows(job(small.url))
    said = {path_of(url): (row["error"], json.loads(row["evidence"] or "{}").get("where")) for url, row in got.items()}
    assert said == {
        "/r.png": ("robots", small.url + "robots.txt"),
        "/t.png": ("opted_out", small.url + ".well-known/tdmrep.json"),
        "/a.gif": ("opted_out", small.url + "ai.txt"), "/ok.png": (None, None),
    }  # fmt: skip
    assert all(small.hits.count(name) == 1 for name in FILES)
    assert not {"/r.png", "/t.png", "/a.gif"} & set(small.hits)
    assert "/text" in small.hits, "opt-outs speak of media; links lead on"


def test_without_respect_for_opt_outs_robots_txt_still_holds(site, job):
    small = site({"/robots.txt": (200, {}, b"User-agent: *\nDisallow: /r\n"), "/.well-known/tdmrep.json": TDM,
                  "/": page("/r.png", "/t.png"), "/t.png": image(b"T")})  # fmt: skip
    got = crawled_rows(job(small.url, respect_opt_out=False))
    assert {path_of(url): row["error"] for url, row in got.items()} == {"/r.png": "robots", "/t.png": None}
    assert small.hits.count("/ai.txt") == 0


def test_robots_that_cannot_be_had_are_asked_for_again_later(site, job):
    tries: list[int] = []

    def recovering() -> Any:
        tries.append(1)
        return (503, {}, b"") if len(tries) == 1 else (200, {}, b"User-agent: *\nDisallow: /no\n")

    small = site({"/robots.txt": recovering, "/": page("/a.png", "/no.png"), "/a.png": image(b"A")})
    got = crawled_rows(job(small.url))
    assert {path_of(url): row["error"] for url, row in got.items()} == {"/a.png": None, "/no.png": "robots"}
    assert len(tries) == 2 and small.hits[:3] == ["/robots.txt", "/robots.txt", "/"]


def test_a_robots_txt_that_is_moved_is_followed_and_one_in_a_circle_is_as_if_not_there(site, job):
    far = site({"/rules": (200, {}, b"User-agent: *\nDisallow: /no\n")}, "127.0.0.2")
    answers = {"/": page("/a.png", "/no.png"), "/a.png": image(b"A"), "/no.png": image(b"N")}
    small = site({**answers, "/robots.txt": (301, {"Location": far.url + "rules"}, b"")})
    got = crawled_rows(job(small.url))
    assert {path_of(url): row["error"] for url, row in got.items()} == {"/a.png": None, "/no.png": "robots"}
    circle = site({**answers, "/robots.txt": (301, {"Location": "/robots.txt"}, b"")})
    assert {row["error"] for row in crawled_rows(job(circle.url, source="circle")).values()} == {None}


def test_a_later_round_asks_for_no_file_again_and_a_recrawl_does(site, job):
    far = site({"/two": page("/b.png", "/c.png"), "/b.png": image(b"B")}, "127.0.0.2")
    answers: dict[str, Any] = {"/": page(links=(far.url + "two",)), "/c.png": image(b"C")}
    near = site(answers)
    far_page = page("/b.png", near.url + "c.png", links=(near.url + "three",))
    far.close()
    far = site({"/two": far_page, "/b.png": image(b"B")}, "127.0.0.2", port=far.port)
    answers["/three"] = page()
    said = job(near.url, scope="any")
    first = crawled(said)
    assert first["rounds"] == 3 and near.hits.count("/robots.txt") == 1
    answers["/robots.txt"] = (200, {}, b"User-agent: *\nDisallow: /c\n")
    end = crawled(said, number=1)
    assert near.hits.count("/robots.txt") == 2
    assert [(path_of(row["url"]), row["error"]) for row in news(said, first, end)] == [("/c.png", "robots")]
