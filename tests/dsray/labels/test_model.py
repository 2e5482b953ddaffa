"""labels.model: planted accuracies come back, better than a majority, as an independent EM finds them."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsray.labels.model import LabelModel, fit, posterior
from dsray.labels.votes import combine

PLANTED = {"a": 0.95, "b": 0.55, "c": 0.5, "d": 0.6, "e": 0.45}


def planted(rows: int, classes: str, seed: int, covers: float = 0.8) -> tuple[list[str], list[tuple]]:
    """Truths, and the votes of sources that are right as often as PLANTED says and abstain at random."""
    random = np.random.default_rng(seed)
    truths = [classes[i] for i in random.choice(len(classes), rows, p=random.dirichlet(np.full(len(classes), 8.0)))]
    votes = []
    for truth in truths:
        others = [c for c in classes if c != truth]
        votes.append(
            tuple(
                (source, truth if random.random() < accuracy else others[random.integers(len(others))])
                for source, accuracy in PLANTED.items()
                if random.random() < covers
            )
        )
    return truths, votes


def plain_em(patterns: dict, rounds: int) -> tuple[dict, dict]:
    """The same model in plain Python, every class of every pattern written out."""
    sources = sorted({s for p in patterns for s, _ in p})
    classes = sorted({c for p in patterns for _, c in p})
    wrong = max(len(classes) - 1, 1)
    q = {p: {c: sum(v == c for _, v in p) / len(p) for c in classes} for p in patterns}
    rows = sum(patterns.values())
    prior = {c: round((sum(n * q[p][c] for p, n in patterns.items()) + 1) / (rows + len(classes)), 12) for c in classes}
    accuracy = {}
    for _ in range(rounds):
        for s in sources:
            tries = sum(n for p, n in patterns.items() for source, _ in p if source == s)
            right = sum(n * q[p][v] for p, n in patterns.items() for source, v in p if source == s)
            accuracy[s] = round((right + 2) / (tries + 3), 12)
        for p in patterns:
            like = {
                c: prior[c] * math.prod(accuracy[s] if v == c else (1 - accuracy[s]) / wrong for s, v in p)
                for c in classes
            }
            q[p] = {c: like[c] / sum(like.values()) for c in classes}
        prior = {
            c: round((sum(n * q[p][c] for p, n in patterns.items()) + 1) / (rows + len(classes)), 12) for c in classes
        }
    return accuracy, prior


@pytest.mark.parametrize(("classes", "within"), [("xy", 0.08), ("abcdef", 0.03)])
def test_planted_accuracies_are_learned_and_beat_the_majority(classes, within):
    truths, votes = planted(6000, classes, 3)
    model = fit(Counter(v for v in votes if v))
    for source, accuracy in PLANTED.items():
        assert model.accuracy[source] == pytest.approx(accuracy, abs=within), source
    assert model.accuracy["a"] == max(model.accuracy.values())
    shares = {c: truths.count(c) / len(truths) for c in classes}
    assert all(abs(model.prior[c] - shares[c]) < 0.06 for c in classes)
    said = [[{"source": s, "label": c, "confidence": 1.0} for s, c in row] for row in votes]
    right = {
        how: np.mean([combine(row, how, model).label == truth for row, truth in zip(said, truths, strict=True) if row])
        for how in ("majority", "model")
    }
    assert right["model"] > right["majority"] + 0.02, right


def test_how_sure_it_is_is_how_often_it_is_right():
    truths, votes = planted(8000, "abcd", 5)
    model = fit(Counter(v for v in votes if v))
    sure, right = [], []
    for row, truth in zip(votes, truths, strict=True):
        if row:
            likely = posterior(row, model)
            best = max(likely, key=likely.get)
            sure.append(likely[best])
            right.append(best == truth)
    sure, right = np.array(sure), np.array(right)
    for low, high in ((0.4, 0.7), (0.7, 0.9), (0.9, 1.0)):
        part = (sure >= low) & (sure < high)
        assert part.sum() > 100
        assert right[part].mean() == pytest.approx(sure[part].mean(), abs=0.06)


PATTERNS = st.dictionaries(
    st.lists(st.tuples(st.sampled_from("stuv"), st.sampled_from("xyz")), min_size=1, max_size=5).map(
        lambda votes: tuple(sorted(votes))
    ),
    st.integers(1, 50),
    min_size=1,
    max_size=8,
)


@given(PATTERNS)
@settings(max_examples=40)
def test_it_is_what_plain_em_finds(patterns):
    model = fit(patterns, 12)
    accuracy, prior = plain_em(patterns, 12)
    assert model.accuracy == pytest.approx(accuracy, abs=1e-8)
    assert model.prior == pytest.approx(prior, abs=1e-8)


@given(PATTERNS, st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_order_and_shards_change_nothing_to_the_last_bit(patterns, random):
    items = list(patterns.items())
    random.shuffle(items)
    halves = Counter()
    for pattern, rows in items:  # each pattern in two parts, its votes in another order
        votes = list(pattern)
        random.shuffle(votes)
        halves[tuple(votes)] += rows - rows // 2
        halves[pattern] += rows // 2
    assert fit(halves) == fit(patterns)


def test_no_votes_and_one_class():
    assert fit({}) == LabelModel({}, {}) == fit({(): 9})
    one = fit({(("s", "x"),): 7})
    assert posterior([("s", "x")], one) == pytest.approx({"x": 1.0})


def test_a_hundred_sources_do_not_overflow():
    votes = tuple((f"s{i:03}", "x" if i % 3 else "y") for i in range(100))
    model = fit({votes: 10**9, (("s001", "y"),): 1})
    assert all(0 < accuracy < 1 for accuracy in model.accuracy.values())
    likely = posterior(votes, model)
    assert likely["x"] == pytest.approx(1) and likely["y"] < 1e-6
