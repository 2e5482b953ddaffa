"""dsray.labelling: a labeller is one way to a label, and its votes have a name of their own."""

import pytest
from pydantic import ValidationError

from dsray.labelling import Labeller, names

PATTERN = {"column": "caption", "regex": "(x)"}


def labeller(**said) -> Labeller:
    return Labeller.model_validate(said)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ({"pattern": PATTERN}, "pattern:caption"),
        ({"column": {"name": "folder"}}, "column:folder"),
        ({"rule": {"function": "my.rules:digit"}}, "rule:my.rules:digit"),
        ({"file": {"path": "s3://b/x/labels.csv"}}, "file:labels.csv"),
        ({"file": {"path": "labels.csv"}, "name": "team"}, "team"),
    ],
)
def test_votes_are_named_by_what_said_them(said, name):
    assert names([labeller(**said)]) == [name]


def test_no_two_labellers_have_one_name():
    same = [labeller(pattern=PATTERN)] * 3
    assert names(same) == ["pattern:caption", "pattern:caption 2", "pattern:caption 3"]


@pytest.mark.parametrize("said", [{}, {"name": "x"}, {"pattern": PATTERN, "column": {"name": "folder"}}])
def test_a_labeller_is_exactly_one_way(said):
    with pytest.raises(ValidationError, match="exactly one of pattern, column, rule, file"):
        labeller(**said)


@pytest.mark.parametrize(
    "said",
    [
        {"rule": {"function": "digit"}},
        {"rule": {"function": "a:b", "confidence": 2}},
        {"file": {"path": ""}},
        {"file": {"path": "x", "format": "xml"}},
        {"file": {"path": "x", "by": "name"}},
    ],
)
def test_what_cannot_be_is_refused(said):
    with pytest.raises(ValidationError):
        labeller(**said)


def test_the_columns_it_must_have():
    assert labeller(pattern=PATTERN).columns() == {"caption"}
    assert labeller(column={"name": "folder"}).columns() == {"folder"}
    assert labeller(rule={"function": "a:b"}).columns() == set() == labeller(file={"path": "x"}).columns()
