import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dsray.metrics import copies as metric
from dsray.metrics.copies import copies, ratios


def test_the_ratio_is_that_of_the_two_nearest_rows():
    random = np.random.default_rng(0)
    rows, train = random.normal(size=(700, 9)).astype(np.float32), random.normal(size=(300, 9)).astype(np.float32)
    apart = np.sort(np.linalg.norm(rows[:, None].astype(float) - train[None], axis=2), axis=1)
    np.testing.assert_allclose(ratios(rows, train), apart[:, 0] / apart[:, 1], rtol=1e-5)
    assert ratios(train, train).max() == 0


def test_new_real_rows_are_no_copies_and_planted_ones_are_found(digits):
    (train, _), (test, _) = digits
    found = copies(test[:250], train, test[250:])
    assert found["share"] <= 0.03 and found["held_out_share"] <= metric.FALSE_ALARMS
    assert found["control_detected"] >= 0.95 * found["control_planted"] > 0
    assert found["n"] == 250


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_copies_among_the_synthetic_rows_are_counted(digits, share):
    (train, _), (test, _) = digits
    made = test[:250].copy()
    count = round(share * 250)
    noise = np.random.default_rng(1).normal(0, 5, made[:count].shape)
    made[:count] = (train[:count] + noise).clip(0, 255).astype(np.uint8)
    assert copies(made, train, test[250:])["share"] == pytest.approx(share, abs=0.03)


def test_blur_is_not_copying(digits):
    (train, _), (test, _) = digits
    blurred = gaussian_filter(test[:250].astype(float), (0, 1.2, 1.2, 0)).astype(np.uint8)
    assert copies(blurred, train, test[250:])["share"] <= 0.03


def test_a_training_row_that_is_there_twice_does_not_hide_its_copies(digits):
    (train, _), (test, _) = digits
    twice = np.concatenate([train, train])
    assert copies(train[:100], twice, test)["share"] == 1.0


def test_features_will_do_and_so_will_a_single_training_row():
    random = np.random.default_rng(0)
    train, held_out = random.normal(size=(200, 4)), random.normal(size=(200, 4))
    assert copies(train[:50], train, held_out)["share"] == 1.0
    assert copies(held_out, train[:1], held_out)["share"] == 0.0


def test_the_most_suspicious_rows_come_first_with_their_training_rows(digits):
    (train, _), (test, _) = digits
    made = np.concatenate([test[:40], train[[7, 3]]])
    made[40, 0, 0] ^= 1  # not quite a copy
    found = metric.suspects(made, np.concatenate([train, train[:5]]), 6)
    assert [(one["synthetic"], one["train"]) for one in found[:2]] == [(41, 3), (40, 7)]
    assert found[0]["distance"] == found[0]["ratio"] == 0 and found[1]["distance"] == pytest.approx(1 / 28)
    assert [one["ratio"] for one in found] == sorted(one["ratio"] for one in found)
    rows = [np.linalg.norm(made[one["synthetic"]].astype(float) - train[one["train"]]) / 28 for one in found]
    assert [one["distance"] for one in found] == pytest.approx(rows)


def test_a_control_that_is_not_found_is_not_trusted():
    found = {"share": 0.0, "threshold": 0.1, "n": 9, "held_out_share": 0.0, "control_planted": 20}
    assert metric.trusted({**found, "control_detected": 18}) and not metric.trusted({**found, "control_detected": 17})
