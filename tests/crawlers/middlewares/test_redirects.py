"""crawlers.middlewares.redirects: into another domain by the partition that keeps it, and always to an end."""

import json

from fetching import crawled, crawled_rows, image, news, page, path_of


def moved(to: str, status: int = 302):
    return status, {"Location": to}, b""


def test_a_redirect_to_another_domain_is_followed_in_the_next_round(site, job):
    far = site({"/deep": moved("/deeper"), "/deeper": image(b"far")}, "127.0.0.2")
    near = site({"/": page("/a.png"), "/a.png": moved(far.url + "deep")})
    said = job(near.url)
    end = crawled(said)
    (row,) = crawled_rows(said, end).values()
    assert (row["url"], row["final_url"], row["payload"]) == (near.url + "a.png", far.url + "deeper", b"far")
    assert end["rounds"] == 2 and far.hits.count("/robots.txt") == 1
    assert near.hits.count("/a.png") == 1


def test_a_target_that_expires_is_no_reason_to_withdraw(site, job):
    there = {"/1": image(b"A")}
    far = site(there, "127.0.0.2")
    answers = {"/": page("/a.png"), "/a.png": moved(far.url + "1")}
    said = job(site(answers).url)
    first = crawled(said)
    there["/2"] = there.pop("/1")  # as signed URLs do
    answers["/a.png"] = moved(far.url + "2")
    assert news(said, first, crawled(said, number=1)) == []


def test_the_rules_of_where_it_leads_hold(site, job):
    far = site({"/robots.txt": (200, {}, b"User-agent: *\nDisallow: /no\n"),
                "/tdm": image(b"x", TDM_Reservation="1")}, "127.0.0.2")  # fmt: skip
    near = site({"/": page("/a.png", "/b.png"), "/a.png": moved(far.url + "no"), "/b.png": moved(far.url + "tdm")})
    got = crawled_rows(job(near.url))
    assert {path_of(url): row["error"] for url, row in got.items()} == {"/a.png": "robots", "/b.png": "opted_out"}
    assert "/no" not in far.hits


def test_a_circle_through_two_domains_ends(site, job):
    answers = {"/x": moved("/")}
    far = site(answers, "127.0.0.2")
    near = site({"/": page("/a.png"), "/a.png": moved(far.url + "x")})
    answers["/x"] = moved(near.url + "a.png")
    (row,) = crawled_rows(job(near.url)).values()
    assert row["error"] == "redirects" and json.loads(row["evidence"])["value"] == "6"
    assert near.hits.count("/a.png") <= 6 and far.hits.count("/x") <= 6


def test_a_link_does_not_lead_out_of_scope_and_a_start_page_may_move_its_domain(site, job):
    target = site({"/": page("/t.png", links=("/more",)), "/more": page("/m.png"), "/t.png": image(b"T"),
                   "/m.png": image(b"M"), "/off": page("/off.png")}, "127.0.0.2")  # fmt: skip
    start = site({"/": moved(target.url)})
    got = crawled_rows(job(start.url))
    assert {path_of(url): row["payload"] for url, row in got.items()} == {"/t.png": b"T", "/m.png": b"M"}
    near = site({"/": page(links=("/away",)), "/away": moved(target.url + "off")})
    (row,) = crawled_rows(job(near.url, source="link")).values()
    assert row["error"] == "redirects" and "/off" not in target.hits


def test_a_redirect_that_leads_nowhere_is_a_row(site, job):
    bad = {"/1.png": (302, {}, b""), "/2.png": moved("file:///etc/passwd"), "/3.png": moved("http://u:p@a.org/"),
           "/4.png": moved("http://[::1"), "/5.png": moved("/5.png")}  # fmt: skip
    got = crawled_rows(job(site({"/": page(*bad), **bad}).url))
    errors = {path_of(url): row["error"] for url, row in got.items()}
    assert errors == {**dict.fromkeys(bad, "redirects"), "/1.png": "http_status", "/4.png": "invalid"}
