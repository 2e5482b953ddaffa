"""A label model: how often each source is right, learned from where sources agree and disagree, without any truth.

One coin a source (Dawid and Skene 1979, with the one parameter of Zhang et al., arXiv:1406.3824): a source that votes
is right with its own accuracy, else any other class is equally likely; votes are independent given the truth, and
whether a source votes says nothing. Fitted by EM on counts of distinct vote patterns, so it does not depend on how
rows lie in shards. Confidences are not used. It takes three sources that overlap to tell who is right; of two, what a
source begins with decides.

Axes: P patterns, V votes in them, E (pattern, class voted for) pairs, S sources, K classes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import exp, fsum, log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Pattern = tuple[tuple[str, str], ...]
"""The (source, label) votes of a row."""

ROUNDS = 100
_DIGITS = 12
"""Of accuracies and shares after each round: where sources are even, noise of the last bits would grow and choose."""

_RIGHT, _TRIES = 2.0, 3.0
"""A source begins as one that was right two times in three; a class as one seen once."""


class LabelModel(NamedTuple):
    """What was learned: the accuracy of each source, and the share of each class, both in (0, 1)."""

    accuracy: dict[str, float]
    prior: dict[str, float]


def fit(patterns: Mapping[Pattern, int], rounds: int = ROUNDS) -> LabelModel:
    """EM from the shares of the votes, a fixed number of rounds. O(votes in distinct patterns) a round."""
    counted: Counter[Pattern] = Counter()
    for pattern, rows in patterns.items():
        counted[tuple(sorted(pattern))] += rows
    ordered = sorted((pattern, rows) for pattern, rows in counted.items() if pattern and rows)
    sources = sorted({source for pattern, _ in ordered for source, _ in pattern})
    classes = sorted({label for pattern, _ in ordered for _, label in pattern})
    if not ordered:
        return LabelModel({}, {})
    source_at, class_at = ({name: at for at, name in enumerate(names)} for names in (sources, classes))
    n_S, n_K, n_P = len(sources), len(classes), len(ordered)
    rows_P = np.array([rows for _, rows in ordered], np.float64)
    pattern_V = np.repeat(np.arange(n_P), [len(pattern) for pattern, _ in ordered])
    source_V = np.array([source_at[source] for pattern, _ in ordered for source, _ in pattern])
    class_V = np.array([class_at[label] for pattern, _ in ordered for _, label in pattern])
    pairs_E, pair_V = np.unique(pattern_V * n_K + class_V, return_inverse=True)
    pattern_E, class_E = pairs_E // n_K, pairs_E % n_K
    rows_E, rows_V = rows_P[pattern_E], rows_P[pattern_V]
    first_P = np.flatnonzero(np.diff(pattern_E, prepend=-1))  # where each pattern's pairs begin: all have some
    tries_S = np.bincount(source_V, rows_V, n_S)

    q_E = np.bincount(pair_V, minlength=len(pairs_E)) / np.bincount(pattern_V, minlength=n_P)[pattern_E]
    prior_K = _even((np.bincount(class_E, rows_E * q_E, n_K) + 1) / (rows_P.sum() + n_K))
    accuracy_S = np.full(n_S, _RIGHT / _TRIES)
    for _ in range(rounds):
        right_S = np.bincount(source_V, rows_V * q_E[pair_V], n_S)
        accuracy_S = _even((right_S + _RIGHT) / (tries_S + _TRIES))
        odds_S = np.log(accuracy_S / (1 - accuracy_S)) + np.log(max(n_K - 1, 1))
        up_E = np.log(prior_K[class_E]) + np.bincount(pair_V, odds_S[source_V], len(pairs_E))
        top_P = np.maximum(0, np.maximum.reduceat(up_E, first_P))
        rest_P = np.maximum(0, 1 - np.bincount(pattern_E, prior_K[class_E], n_P)) * np.exp(-top_P)
        likely_E = np.exp(up_E - top_P[pattern_E])
        sum_P = rest_P + np.bincount(pattern_E, likely_E, n_P)
        q_E = likely_E / sum_P[pattern_E]
        idle_P = np.exp(-top_P) / sum_P  # what a class that nobody voted for has, over its prior
        mass_K = prior_K * (rows_P @ idle_P) + np.bincount(
            class_E, rows_E * (q_E - prior_K[class_E] * idle_P[pattern_E]), n_K
        )
        prior_K = _even((mass_K + 1) / (rows_P.sum() + n_K))
    return LabelModel(
        dict(zip(sources, accuracy_S.tolist(), strict=True)), dict(zip(classes, prior_K.tolist(), strict=True))
    )


def _even(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rounded, and inside (0, 1)."""
    return np.clip(np.round(shares, _DIGITS), 10.0**-_DIGITS, 1 - 10.0**-_DIGITS)


def posterior(votes: Sequence[tuple[str, str]], model: LabelModel) -> dict[str, float]:
    """Label voted for → how likely it is the truth, in the order of the votes."""
    others = log(max(len(model.prior) - 1, 1))
    up = {label: log(model.prior[label]) for _, label in votes}
    rest = max(0.0, 1 - fsum(model.prior[label] for label in up))
    for source, label in sorted(votes):
        accuracy = model.accuracy[source]
        up[label] += log(accuracy / (1 - accuracy)) + others
    top = max(0.0, *up.values())
    likely = {label: exp(value - top) for label, value in up.items()}
    total = fsum([*likely.values(), rest * exp(-top)])
    return {label: value / total for label, value in likely.items()}
