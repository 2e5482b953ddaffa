import numpy as np
import pytest

from dsray.errors import DsrayError
from dsray.metrics.subset import same_size, subset


def test_all_rows_stay_in_order_and_fewer_are_a_draw_without_repeats():
    assert subset(9, 9, 0, "x").tolist() == list(range(9))
    some = subset(1000, 100, 0, "x")
    assert len(set(some.tolist())) == 100 and (np.diff(some) > 0).all()
    assert some.tolist() != subset(1000, 100, 1, "x").tolist() != subset(1000, 100, 1, "y").tolist()


def test_sets_end_up_with_the_size_of_the_smallest():
    cut = same_size(np.arange(7), np.arange(5), np.arange(9), seed=0)
    assert [len(rows) for rows in cut] == [5, 5, 5] and cut[1].tolist() == list(range(5))
    with pytest.raises(DsrayError, match="4 of each"):
        same_size(np.arange(7), np.arange(3), np.arange(9), seed=0, least=4)
