import numpy as np
import pytest

from dsray.metrics.neighbours import flat, nearest


@pytest.mark.parametrize("k", [1, 3])
def test_it_is_the_sorted_table_of_all_distances(k):
    random = np.random.default_rng(0)
    rows, others = random.normal(50, 1, (600, 7)).astype(np.float32), random.normal(50, 1, (90, 7)).astype(np.float32)
    table = np.linalg.norm(rows[:, None].astype(float) - others[None], axis=2)
    away, place = nearest(rows, others, k)
    np.testing.assert_allclose(away, np.sort(table, 1)[:, :k], rtol=1e-6)
    assert np.array_equal(np.take_along_axis(table, place, 1).argsort(1), np.tile(np.arange(k), (600, 1)))
    for part in (slice(0, 1), slice(500, 600)):
        assert np.array_equal(nearest(rows[part], others, k)[1], place[part])


def test_a_row_is_no_neighbour_of_its_own_and_a_twin_is_at_zero():
    rows = np.random.default_rng(1).normal(1e3, 1, (700, 5)).astype(np.float32)
    rows[650] = rows[3]
    away, place = nearest(rows, rows, 2, itself=True)
    assert (place != np.arange(700)[:, None]).all() and (away[:3] > 0).all()
    assert away[3, 0] == 0 and place[3, 0] == 650 and place[650, 0] == 3


def test_too_few_others_are_infinitely_far():
    rows = np.zeros((2, 3), np.float32)
    away, place = nearest(rows, rows[:1], 2)
    assert away.tolist() == [[0, np.inf]] * 2 and place.tolist() == [[0, -1]] * 2
    assert np.isinf(nearest(rows[:1], rows[:1], 1, itself=True)[0]).all()
    assert flat(np.zeros((4, 2, 3, 1), np.uint8)).shape == (4, 6)
