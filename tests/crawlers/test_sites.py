"""crawlers.sites: robots.txt (RFC 9309), tdmrep.json (W3C TDMRep) and ai.txt, as sites write them."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawlers.sites import AI, FRESH_S, ROBOTS, TDMREP, OptOuts, Robots, SiteFile

HOST = "http://a.org"


def file(name: str, body: str = "", status: int | None = 200, error: str = "") -> SiteFile:
    return SiteFile(HOST, name, time.time(), status, body, error)


def robots(body: str, status: int | None = 200, error: str = "") -> Robots:
    return Robots(file(ROBOTS, body, status, error), "dsray")


@pytest.mark.parametrize(
    ("status", "error", "unreadable"),
    [(200, "", ""), (404, "", ""), (403, "", ""), (503, "", "status 503"), (None, "dns: none", "dns: none")],
)
def test_4xx_allows_all_and_5xx_or_silence_nothing_for_now(status, error, unreadable):
    said = robots("User-agent: *\nDisallow: /no\n" if status == 200 else "", status, error)
    assert said.unreadable == unreadable
    assert said.allows(HOST + "/yes") and said.allows(HOST + "/no") == (status != 200)


def test_a_file_without_an_answer_is_unreadable():
    assert robots("", None).unreadable


@pytest.mark.parametrize("body", ["Disallow: /no", "<html>Disallow: /</html>", "User-agent: dsray\nDisallow: /"])
def test_the_body_of_an_error_is_no_rule(body):
    assert robots(body, 404).allows(HOST + "/no")


@pytest.mark.parametrize(
    ("rules", "path", "allowed"),
    [
        ("Disallow: /a\nAllow: /a/b", "/a/b/c", True),
        ("Allow: /a/b\nDisallow: /a", "/a/c", False),
        ("Disallow: /a\nAllow: /a", "/a", True),
        ("Disallow: /*.png$", "/x/y.png", False),
        ("Disallow: /*.png$", "/x/y.png?z", True),
        ("Disallow:", "/x", True),
        ("Disallow: /", "/", False),
        ("Disallow: /%7Ejoe", "/~joe/x", False),
    ],
)
def test_the_longest_match_decides(rules, path, allowed):
    assert robots(f"User-agent: *\n{rules}\n").allows(HOST + path) == allowed


def test_our_group_is_obeyed_instead_of_everyones():
    said = robots("User-agent: *\nDisallow: /\n\nUser-agent: other\nUser-agent: DSRay\nDisallow: /mine\n")
    assert said.allows(HOST + "/x") and not said.allows(HOST + "/mine")


@pytest.mark.parametrize(("written", "delay"), [("3", 3.0), ("0.5", 0.5), ("9999", 60.0), ("soon", 0.0), ("", 0.0)])
def test_a_crawl_delay_is_kept_up_to_a_minute(written, delay):
    assert robots(f"User-agent: *\nCrawl-delay: {written}\n").delay_s == delay


def test_sitemaps_are_read():
    assert robots("Sitemap: http://a.org/s.xml\nSITEMAP: http://b.org/t.xml\n").sitemaps == [
        "http://a.org/s.xml", "http://b.org/t.xml"
    ]  # fmt: skip


def opted(tdmrep: str = "", ai: str = "", path: str = "/x.png", status: int = 200) -> str | None:
    """The signal of what reserves a path."""
    found = OptOuts(file(TDMREP, tdmrep, status), file(AI, ai, status), "dsray").refusal(HOST + path)
    return found[0] if found else None


def tdm(*rules: tuple[str, int]) -> str:
    return json.dumps([{"location": location, "tdm-reservation": reserved} for location, reserved in rules])


@pytest.mark.parametrize(
    ("rules", "path", "refused"),
    [
        ([("/", 1)], "/x", True),
        ([("/", 0)], "/x", False),
        ([("/free/", 0), ("/", 1)], "/free/x", False),
        ([("/", 1), ("/free/", 0)], "/free/x", True),
        ([("/*.png", 1)], "/a/b.png", True),
        ([("*.png", 1)], "/a/b.png", True),
        ([("/*.png$", 1)], "/a/b.png?x", False),
        ([("/a$", 1)], "/a", True),
        ([("/a$", 1)], "/ab", False),
        ([("/a.b", 1)], "/axb", False),
        ([("/a", 1)], "/b/a", False),
    ],
)
def test_the_first_reservation_that_matches_decides(rules, path, refused):
    assert opted(tdm(*rules), path=path) == ("tdmrep.json" if refused else None)


JUNK = ["", "{", "{}", "[]", "7", "null", "[7, null, {}]", '[{"location":3,"tdm-reservation":1}]', '[{"location":"/"}]']


@pytest.mark.parametrize("body", JUNK)
def test_a_tdmrep_that_is_none_says_nothing(body):
    assert opted(body) is None
    assert opted(tdm(("/", 1)), status=404) is None


@given(st.text(max_size=40))
def test_no_file_breaks_us(body):
    said = OptOuts(file(TDMREP, json.dumps([{"location": body, "tdm-reservation": "1"}])), file(AI, body), "dsray")
    said.refusal(HOST + "/x.png")
    opted(body), robots(body).allows(HOST + "/x")


def test_what_reserves_is_told_with_its_place():
    said = OptOuts(file(TDMREP, tdm(("/x", 1))), file(AI, "User-agent: *\nDisallow: /y\n"), "dsray")
    assert said.refusal(HOST + "/x.png") == ("tdmrep.json", "/x", f"{HOST}/.well-known/tdmrep.json")
    assert said.refusal(HOST + "/y.png") == ("ai.txt", "disallow", f"{HOST}/ai.txt")


@pytest.mark.parametrize(
    ("body", "path", "refused"),
    [
        ("User-Agent: *\nDisallow: *.png\n", "/a/x.png", True),
        ("User-Agent: *\nDisallow: *.png\n", "/a/x.jpg", False),
        ("User-Agent: *\nAllow: *.png\nDisallow: /\n", "/x.png", False),  # `/*.png` is longer than `/`
        ("User-Agent: *\nAllow: /free/*\nDisallow: /\n", "/free/x.png", False),
        ("User-Agent: other\nDisallow: /\n", "/x.png", False),
        ("User-Agent: dsray\nDisallow: /\n\nUser-Agent: *\nDisallow:\n", "/x.png", True),
        ("<!DOCTYPE html>\n<HTML>\nUser-Agent: *\nDisallow: /\n</html>", "/x.png", False),
    ],
)
def test_ai_txt_is_read_like_robots_txt_with_file_types(body, path, refused):
    assert opted(ai=body, path=path) == ("ai.txt" if refused else None)


def test_a_file_is_fresh_for_a_day_and_survives_the_lake():
    now = file(ROBOTS, "x")
    assert now.fresh and SiteFile(**json.loads(json.dumps(now.written()))) == now
    assert not SiteFile(HOST, ROBOTS, time.time() - FRESH_S - 1, 200).fresh and now.url == HOST + "/robots.txt"
