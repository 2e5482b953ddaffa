import numpy as np

from dsray.metrics.cells import cell_of, centres


def test_far_heaps_are_cells():
    random = np.random.default_rng(0)
    heaps = np.array([[0, 0], [50, 0], [0, 50]], np.float32)
    rows = (heaps[np.arange(300) % 3] + random.normal(size=(300, 2))).astype(np.float32)
    found = centres(rows, 3, seed=1)
    cell = cell_of(rows, found)
    assert all(len(set(cell[k::3])) == 1 for k in range(3)) and len(set(cell[:3])) == 3
    np.testing.assert_allclose(found[cell[:3]], heaps, atol=0.5)


def test_fewer_different_rows_than_cells():
    assert len(centres(np.ones((9, 2), np.float32), 4, seed=0)) == 1


def test_each_row_is_with_its_nearest_centre():
    rows = np.random.default_rng(2).normal(size=(500, 6)).astype(np.float32)
    found = centres(rows, 7, seed=3)
    table = np.linalg.norm(rows[:, None] - found[None], axis=2)
    assert np.array_equal(cell_of(rows, found), table.argmin(1))
    for k in range(7):  # a centre is the mean of its rows, up to the last step
        np.testing.assert_allclose(found[k], rows[table.argmin(1) == k].mean(0), atol=0.3)
