import numpy as np
import pytest
from scipy import stats

from dsray.errors import DsrayError
from dsray.metrics import memorisation as metric
from dsray.metrics.controls import trusted
from dsray.metrics.memorisation import memorisation

MEASURES = ("c_t", "authenticity", "nearest")


def copied(made, train, share):
    made = made.copy()
    count = round(share * len(made))
    noise = np.random.default_rng(1).normal(0, 5, made[:count].shape)
    made[:count] = (train[:count] + noise).clip(0, 255).astype(np.uint8)
    return made


@pytest.fixture(scope="module")
def new(strokes):
    train, other = strokes
    return memorisation(other[:800], train, other[800:])


def test_new_real_rows_raise_no_alarm_and_the_controls_hold(new):
    for name in MEASURES:
        assert not new[name]["alarm"], name
        assert trusted(new[name]["controls"]), (name, new[name]["controls"])
    assert (new["n"], new["train"], new["held_out"]) == (800, 1000, 1200)
    assert abs(new["c_t"]["whole"]) < 3 and abs(new["authenticity"]["z"]) < 3 and new["c_t"]["cells"] > 1


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_planted_copies_are_detected_by_each(strokes, new, share):
    train, other = strokes
    found = memorisation(copied(other[:800], train, share), train, other[800:])
    for name in MEASURES:
        assert found[name]["alarm"], name
        assert found[name]["tail"]["share"] == pytest.approx(share, abs=0.03)
    assert found["c_t"]["c_t"] < new["c_t"]["c_t"] and found["c_t"]["nearer"] > new["c_t"]["nearer"]
    lost = new["authenticity"]["share"] - found["authenticity"]["share"]
    assert 0 < lost <= share


def test_real_digits(digits):
    (train, _), (test, _) = digits
    quiet = memorisation(test[:250], train, test[250:])
    loud = memorisation(copied(test[:250], train, 0.2), train, test[250:])
    assert not any(quiet[name]["alarm"] for name in MEASURES) and all(loud[name]["alarm"] for name in MEASURES)


def test_too_few_rows_are_seen_by_the_controls(strokes):
    train, other = strokes
    few = memorisation(other[:20], train, other[20:40])
    assert not any(trusted(few[name]["controls"]) for name in MEASURES)


def test_c_t_in_one_cell_is_scipys_mann_whitney(strokes):
    train, other = strokes
    a, b = (rows.reshape(len(rows), -1).astype(float) for rows in (other[:90], other[90:180]))
    table = [np.linalg.norm(x[:, None] - train.reshape(1, 1000, -1), axis=2).min(1) for x in (a, b)]
    p = stats.mannwhitneyu(*table, use_continuity=False, method="asymptotic", alternative="less").pvalue
    found = memorisation(other[:90], train, other[90:180])["c_t"]
    assert found["cells"] == 1 and stats.norm.cdf(found["c_t"]) == pytest.approx(p, rel=1e-6)


def test_authenticity_is_its_definition(strokes):
    train, other = strokes
    train = train[:200]
    flat = train.reshape(200, -1).astype(float)
    made = other[:100].reshape(100, -1).astype(float)
    own = np.linalg.norm(flat[:, None] - flat[None], axis=2) + np.diag(np.full(200, np.inf))
    away = np.linalg.norm(made[:, None] - flat[None], axis=2)
    expected = (away.min(1) > own.min(1)[away.argmin(1)]).mean()
    assert memorisation(other[:100], train, other[100:200])["authenticity"]["share"] == pytest.approx(expected)


def test_blur_is_nearer_but_no_copy_by_its_ratios(digits):
    from scipy.ndimage import gaussian_filter

    (train, _), (test, _) = digits
    blurred = gaussian_filter(test[:250].astype(float), (0, 1.2, 1.2, 0)).astype(np.uint8)
    found = memorisation(blurred, train, test[250:])
    assert found["c_t"]["alarm"] and not found["nearest"]["alarm"]


def test_training_rows_given_twice_change_nothing(strokes):
    train, other = strokes
    once, twice = (memorisation(other[:50], rows, other[50:100]) for rows in (train, np.concatenate([train, train])))
    assert {**once, "train": 0} == {**twice, "train": 0}


@pytest.mark.parametrize("sizes", [(0, 5, 5), (5, 1, 5), (5, 5, 3)])
def test_too_few_for_any_number_is_a_sentence(sizes):
    with pytest.raises(DsrayError, match="held-out rows"):
        memorisation(*(np.zeros((size, 2)) for size in sizes))
    assert metric.Z_ALARM < 0 < metric.P_ALARM
