"""The job's line is checked before anything is fetched."""

import json

import pytest

from crawlers.job import Budget, parse
from dsray.errors import RecipeError

LINE = {"lake": "file:///x", "source": "s", "key": "k", "partition": "0000", "start": ["http://A.com"]}


def test_the_first_field_is_the_media_and_the_texts_are_sorted():
    job = parse(json.dumps({**LINE, "item": {"m": "img", "z": "p", "a": "b"}, "budget": {"pages": 3, "rounds": 1}}))
    assert job.media == "img"
    assert list(job.texts) == ["a", "z"]
    assert job.start == ["http://a.com/"]
    assert job.budget == Budget(pages=3)


@pytest.mark.parametrize("agent", ["Dsray/1.0 (+http://x)", "DSRAY bot@x.org", "dsray"])
def test_robots_know_us_by_the_first_word(agent):
    assert parse(json.dumps({**LINE, "item": {"m": "img"}, "user_agent": agent})).product == "dsray"


@pytest.mark.parametrize(
    "wrong",
    [{"item": {"m": "img[["}}, {"item": {"m": "img", "t": "p::nothing(1)"}}, {"follow": ")"}, {"start": ["ftp://x/"]}],
)
def test_what_is_no_css_or_no_url_is_said_in_one_sentence(wrong):
    with pytest.raises(RecipeError, match=r"(selector|start page)"):
        parse(json.dumps({**LINE, "item": {"m": "img"}, **wrong}))
