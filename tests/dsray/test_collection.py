"""dsray.collection: what a source may say, and what it is told otherwise."""

import pytest
from pydantic import ValidationError

from dsray.collection import Source

CRAWL = {"start": ["http://127.0.0.1/"], "item": {"image": "img", "caption": "p"}, "allow_private": True}


def test_a_source_is_exactly_one_thing():
    for said in ({}, {"crawl": CRAWL, "files": {"path": "x"}}):
        with pytest.raises(ValidationError, match="exactly one of crawl, files, warc, sql, hub"):
            Source.model_validate(said)


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"start": []}, "needs `start`, `sitemaps`, `urls` or `api`"),
        ({"item": {}}, "pages need `item`"),
        ({"start": [], "sitemaps": ["discover"]}, "needs `start`"),
        ({"spider": "mine"}, "not `module:Class`"),
        ({"start": ["ftp://x/"]}, "not an http or https URL"),
        ({"allow_private": False}, "`user_agent` with a contact"),
        ({"item": {"image": "img", "url": "p"}}, "has a column of that name"),
        ({"urls": {"path": "l.csv", "texts": {"payload": "p"}}}, "has a column of that name"),
    ],
)
def test_a_wrong_crawl_is_told_what_is_wrong(change, wrong):
    with pytest.raises(ValidationError, match=wrong):
        Source.model_validate({"crawl": {**CRAWL, **change}})


def test_every_way_in_names_its_fields():
    listed = {
        "urls": {"path": "l.csv", "texts": {"class_name": "y"}},
        "api": {"start": ["http://a/"], "texts": {"t": "x"}},
    }
    assert Source.model_validate({"crawl": {**CRAWL, **listed, "texts": ["own"]}}).fields() == {
        "caption", "class_name", "t", "own"
    }  # fmt: skip
    assert Source.model_validate({"files": {"path": "x", "texts": {"folder_name": "folder"}}}).fields() == {
        "folder_name"
    }
    assert Source.model_validate({"warc": {"path": "x"}}).fields() == set()
