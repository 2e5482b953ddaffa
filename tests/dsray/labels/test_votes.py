"""labels.votes: precedence, majority and a model, with agreement and confidence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsray.labels.model import LabelModel
from dsray.labels.votes import NOTHING, combine, conflicting


def votes(*said: tuple) -> list[dict]:
    return [{"source": s, "label": c, "confidence": sure} for s, c, sure in said]


ANY = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.floats(0, 1)), min_size=1, max_size=8).map(
    lambda said: votes(*said)
)
MODEL = LabelModel({"a": 0.9, "b": 0.6, "c": 0.3}, {"x": 0.5, "y": 0.3, "z": 0.2})


def test_precedence_is_the_first():
    said = votes(("a", "x", 0.25), ("b", "y", 1.0), ("c", "x", 0.75))
    assert combine(said) == ("x", "a", 0.25, 0.5)


def test_majority_is_the_most_weight_and_ties_go_by_precedence():
    said = votes(("a", "x", 0.25), ("b", "y", 0.5), ("c", "y", 0.25))
    assert combine(said, "majority") == ("y", "b", 0.25, 0.75)
    tie = votes(("a", "y", 0.3), ("b", "x", 0.1), ("c", "x", 0.2))
    assert combine(tie, "majority").label == "y"


def test_the_model_trusts_the_one_that_is_right():
    found = combine(votes(("b", "y", 1.0), ("c", "y", 1.0), ("a", "x", 1.0)), "model", MODEL)
    like = {"x": 0.5 * 0.9 * 0.2 * 0.35, "y": 0.3 * 0.05 * 0.6 * 0.3, "z": 0.2 * 0.05 * 0.2 * 0.35}
    assert found.label == "x" and found.source == "a"
    assert found.confidence == pytest.approx(like["x"] / sum(like.values()))
    assert found.agreement == pytest.approx(1 / 3)


def test_no_vote_is_nothing():
    assert combine([]) == NOTHING and combine([], "model", MODEL) == NOTHING


@given(ANY, st.sampled_from(["precedence", "majority", "model"]))
def test_a_label_is_one_that_was_voted_for_and_shares_are_shares(said, how):
    found = combine(said, how, MODEL)
    assert found.label in {vote["label"] for vote in said}
    assert 0 <= found.confidence <= 1 and 0 <= found.agreement <= 1
    assert conflicting(said) == (len({vote["label"] for vote in said}) > 1)
    assert conflicting(said) or found.agreement == 1
    assert found.source == next(vote["source"] for vote in said if vote["label"] == found.label)


@given(ANY, st.randoms(use_true_random=False))
def test_the_order_of_votes_matters_to_ties_only(said, random):
    weights = {c: sum(v["confidence"] for v in said if v["label"] == c) for c in "xyz"}
    best = sorted(weights.values())
    mixed = random.sample(said, len(said))
    if best[-1] - best[-2] > 1e-9:
        assert combine(mixed, "majority").label == combine(said, "majority").label
    assert combine(mixed, "model", MODEL).confidence == pytest.approx(combine(said, "model", MODEL).confidence)
