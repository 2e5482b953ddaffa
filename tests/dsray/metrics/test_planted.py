import numpy as np
import pytest

from dsray.metrics.controls import controls, parts, trusted
from dsray.metrics.planted import needed, planted, replaced


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_so_many_rows_are_replaced_and_no_others(share):
    rows, copies = np.arange(200.0), -1.0 - np.arange(200.0)
    mixed = replaced(rows, copies, share, seed=1)
    assert (mixed < 0).sum() == needed(200, share) == round(200 * share)
    assert np.array_equal(mixed[mixed >= 0], rows[mixed >= 0]) and rows.min() == 0
    assert not np.array_equal(mixed < 0, replaced(rows, copies, share, seed=2) < 0)


def test_a_planted_row_is_a_training_row_with_a_little_noise():
    train = np.random.default_rng(0).uniform(0, 255, (50, 40)).astype(np.float32)
    away = np.linalg.norm(planted(train, 20, 0)[:, None] - train[None], axis=2).min(1) / 40**0.5
    assert len(away) == 20 and np.allclose(away, 0.03 * 255, rtol=0.5) and len(planted(train, 99, 0)) == 50


def test_parts_are_all_rows_once():
    rows = np.arange(101)
    found = parts(rows, 3, seed=4)
    assert sorted(np.concatenate(found)) == rows.tolist() and {len(p) for p in found} == {33, 34}


def test_controls_are_trusted_only_when_silent_and_awake():
    def judge(bias):
        return lambda made, other: (float((made < 0).mean()), bool((made < 0).mean() > bias))

    rows, copies = np.arange(200.0), -np.ones(100)
    told = controls(judge(0.01), copies, rows, seed=0)
    assert [c["planted"] for c in told] == [0.0, 0.05, 0.2] and [c["value"] for c in told] == [0.0, 0.05, 0.2]
    assert trusted(told)
    assert not trusted(controls(judge(0.1), copies, rows, seed=0))  # blind to 5%
    assert not trusted(controls(judge(-1), copies, rows, seed=0))  # cries at nothing
