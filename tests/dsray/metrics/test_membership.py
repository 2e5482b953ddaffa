import numpy as np
import pytest

from dsray.errors import DsrayError
from dsray.metrics.controls import trusted
from dsray.metrics.membership import ATTACKS, attack, density_ratio, gan_leaks, membership


def test_new_real_rows_give_nothing_away_and_the_controls_hold(strokes):
    train, other = strokes
    found = membership(other[:500], train[:500], other[500:])
    assert found.keys() == ATTACKS.keys() and len(found) == 2
    for name, told in found.items():
        assert not told["alarm"] and abs(told["auc"] - 0.5) < 3.5 * told["auc_error"] and told["tpr"] < 0.05, name
        assert trusted(told["controls"]), (name, told["controls"])
        assert (told["members"], told["others"]) == (500, 750)


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_planted_copies_betray_their_members(strokes, share):
    train, other = strokes
    made = other[:500].copy()
    count = round(share * 500)
    noise = np.random.default_rng(0).normal(0, 5, made[:count].shape)
    made[:count] = (train[:count] + noise).clip(0, 255).astype(np.uint8)
    for name, told in membership(made, train[:500], other[500:]).items():
        assert told["alarm"], name
        assert told["tpr"] == pytest.approx(share, abs=0.04) and told["p"] < 1e-3, name
        assert told["tpr_error"] > 0


def test_both_scores_are_their_formulas():
    random = np.random.default_rng(0)
    x, made, reference = (random.normal(size=(n, 4)).astype(np.float32) for n in (30, 80, 60))
    table = [np.linalg.norm(x[:, None].astype(float) - rows[None], axis=2) for rows in (made, reference)]
    np.testing.assert_allclose(gan_leaks(x, made, reference), table[1].min(1) - table[0].min(1), atol=1e-5)
    own = np.linalg.norm(reference[:, None].astype(float) - reference[None], axis=2) + np.diag(np.full(60, np.inf))
    width = 0.25 * np.median(own.min(1))
    logs = [np.log(np.exp(-(t**2) / (2 * width**2)).mean(1)) for t in table]
    np.testing.assert_allclose(density_ratio(x, made, reference), logs[0] - logs[1], rtol=1e-3, atol=1e-3)


def test_a_discriminators_scores_are_judged_alike():
    random = np.random.default_rng(0)
    other = random.normal(size=800)
    blind, sharp = attack(random.normal(size=600), other), attack(random.normal(1, 1, 600), other)
    few = random.normal(size=600)
    few[:30] += 6
    some = attack(few, other)
    assert not blind["alarm"] and trusted(blind["controls"])
    assert sharp["alarm"] and sharp["auc"] == pytest.approx(0.76, abs=0.04)
    assert some["alarm"] and some["tpr"] == pytest.approx(0.06, abs=0.02) and some["auc"] < 0.57


def test_too_few_are_a_sentence():
    with pytest.raises(DsrayError, match="1 members"):
        attack(np.zeros(1), np.zeros(9))
    with pytest.raises(DsrayError, match="11 held-out"):
        membership(np.zeros((5, 2)), np.zeros((5, 2)), np.zeros((11, 2)))
