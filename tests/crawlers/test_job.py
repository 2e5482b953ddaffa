"""The job's line is checked before anything is fetched."""

import json
import time

import pytest

from crawlers.job import Budget, parse
from dsray.errors import RecipeError

LINE = {"lake": "file:///x", "source": "s", "folder": "f", "list": "l"}


def test_the_first_field_is_the_media_and_the_texts_are_sorted():
    job = parse(json.dumps({**LINE, "item": {"m": "img", "z": "p", "a": "b"}, "budget": {"pages": 3}}))
    assert job.media == "img"
    assert list(job.texts) == ["a", "z"]
    assert job.budget == Budget(pages=3)


@pytest.mark.parametrize("agent", ["Dsray/1.0 (+http://x)", "DSRAY bot@x.org", "dsray"])
def test_robots_know_us_by_the_first_word(agent):
    assert parse(json.dumps({**LINE, "user_agent": agent})).product == "dsray"


@pytest.mark.parametrize(
    "wrong", [{"item": {"m": "img[["}}, {"item": {"m": "img", "t": "p::nothing(1)"}}, {"follow": ")"}]
)
def test_what_is_no_css_is_said_in_one_sentence(wrong):
    with pytest.raises(RecipeError, match="selector"):
        parse(json.dumps({**LINE, **wrong}))


def test_each_try_waits_four_times_as_long():
    job = parse(json.dumps({**LINE, "wait_s": 10}))
    assert [round(job.backoff(tries) - time.time()) for tries in (1, 2, 3)] == [10, 40, 160]
