"""dsray.synthesis: what may be asked of a model."""

import pytest
from pydantic import ValidationError

from dsray.synthesis import Synthesis


def asked(**said) -> Synthesis:
    return Synthesis.model_validate(said)


def test_labels_are_text_and_their_rows_add_up():
    found = asked(classes={"a": 4, 7: 6})
    assert found.classes == {"a": 4, "7": 6} and found.rows == 10


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"rows": 9, "classes": {"a": 4, "b": 6}}, "`rows` says 9, but `classes` add up to 10"),
        ({"reject": {"classifier": 0.5, "discriminator": 0.5}}, "each keep a share of their own: choose one"),
        ({"reject": {"classifier": 1.1}}, "less than or equal to 1"),
        ({"retrain": {"changed": 0}}, "greater than 0"),
        ({"workers": [3, 2]}, "give a number from 1, or `\\[least, most\\]` of them"),
    ],
)
def test_what_cannot_be_meant_is_told(said, told):
    with pytest.raises(ValidationError, match=told):
        asked(**said)


def test_one_rule_of_rejection_beside_another():
    found = asked(reject={"classifier": 1, "neighbours": 0.5}).reject
    assert (found.classifier, found.neighbours, found.discriminator) == (1, 0.5, None)
