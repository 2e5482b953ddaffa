"""words: what a person reads fits into 120 columns; what a program reads is all of it."""

import io
import json
from dataclasses import replace

import pytest

from dsray.console import console_of
from dsray.lake import lookup
from dsray.trace import words
from dsray.trace.builds import builds
from dsray.trace.story import trace


def printed(story) -> str:
    file = io.StringIO()
    words.show(console_of(file), story)
    return file.getvalue()


@pytest.fixture(scope="module")
def stories(made):
    build = builds(made.store)[-1]
    rows = [lookup.find(made.store, build.shards(step), "id", "", prefix=True)[0].value
            for step in ("gather", "augment", "synthesize gan")]  # fmt: skip
    return {"real": trace(made.store, rows[0], again=True), "augmented": trace(made.store, rows[1], again=True),
            "synthetic": trace(made.store, rows[2], again=True),
            "file": trace(made.store, builds(made.store)[0].files[0].name)}  # fmt: skip


@pytest.mark.parametrize("name", ["real", "augmented", "synthetic", "file"])
def test_no_line_is_wider_than_120_columns(stories, name):
    text = printed(stories[name])
    assert max(map(len, text.splitlines())) <= 120 and "None" not in text
    assert text.splitlines()[0].startswith(getattr(stories[name], "id", "releases/"))
    assert ("equal" in text) is (name != "file")


def test_each_origin_tells_what_it_is_made_of(stories):
    assert "consent         no opt-out was found; opt-outs are obeyed" in printed(stories["real"])
    assert "verdict\n  kept            in " in printed(stories["real"])
    assert printed(stories["augmented"]).count("parent ") >= 2 and "second parent" in printed(stories["augmented"])
    assert "truncation 0.8" in printed(stories["synthetic"]) and "learned from" in printed(stories["synthetic"])


def test_a_crawl_and_stages_that_nobody_knows_of_are_told_as_such(stories):
    (row,) = stories["real"].real
    lost = {"number": None, "round": None, "folder": ""}
    text = printed(replace(stories["real"], real=[replace(row, crawl=lost, verdict={})]))
    assert "crawl           not known: the records of older crawls are gone" in text
    assert "they are gone, or the build is not complete" in text


def test_json_is_the_whole_story(stories):
    told = json.loads(words.as_json(stories["real"]))
    assert told["real"][0]["label"]["votes"] and told["real"][0]["verdict"]["kept"] and told["checks"][2]["equal"]
    assert json.loads(words.as_json(stories["file"]))["sources"][0]["raw"].startswith("raw/drawings/")
