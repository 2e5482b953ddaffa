"""Many votes of a row → one label, with whose it is, how sure, and how far the votes agree."""

from collections.abc import Mapping, Sequence
from math import fsum
from typing import Any, NamedTuple

from dsray.labels.model import LabelModel, posterior

Vote = Mapping[str, Any]
"""schema.VOTE: source, label, confidence (0 to 1)."""


class Combined(NamedTuple):
    """What the votes come to."""

    label: str | None
    source: str | None  # the first that voted for it
    confidence: float | None
    agreement: float | None  # share of the votes for it, weighted by their confidence


NOTHING = Combined(None, None, None, None)


def combine(votes: Sequence[Vote], how: str = "precedence", model: LabelModel | None = None) -> Combined:
    """`precedence`: the first vote, as sure as it is. `majority`: the label with the most confidence; sure is the mean
    over all votes of the confidence in it. `model`: the likeliest under the model, and how likely. Ties by precedence.
    """
    if not votes:
        return NOTHING
    if how == "precedence":
        label, sure = votes[0]["label"], votes[0]["confidence"]
    elif how == "majority":
        label = _first_of_most({label: round(fsum(_weights(votes, label)), 12) for label in _labels(votes)})
        sure = fsum(_weights(votes, label)) / len(votes)
    else:
        assert model
        likely = posterior([(vote["source"], vote["label"]) for vote in votes], model)
        label = _first_of_most(likely)
        sure = likely[label]
    first = next(vote for vote in votes if vote["label"] == label)
    return Combined(label, first["source"], sure, _agreement(votes, label))


def conflicting(votes: Sequence[Vote]) -> bool:
    """Whether they name more than one label."""
    return any(vote["label"] != votes[0]["label"] for vote in votes)


def _labels(votes: Sequence[Vote]) -> list[str]:
    return list(dict.fromkeys(vote["label"] for vote in votes))


def _weights(votes: Sequence[Vote], label: str) -> list[float]:
    return [vote["confidence"] for vote in votes if vote["label"] == label]


def _first_of_most(weights: Mapping[str, float]) -> str:
    return max(weights, key=weights.__getitem__)  # max keeps the first of equals


def _agreement(votes: Sequence[Vote], label: str) -> float:
    weight = fsum(vote["confidence"] for vote in votes)
    if weight == 0:
        return len(_weights(votes, label)) / len(votes)
    return fsum(_weights(votes, label)) / weight
