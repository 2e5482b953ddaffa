"""moments: sums that no sharding changes, and what loaders make of bytes with them."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dsray.errors import DsrayError
from dsray.stages.moments import MOMENTS, merged, moments, values
from rows import png, sample_rows

SAMPLES = arrays.arrays(np.uint8, st.tuples(st.integers(1, 12), st.just(2), st.just(3), st.just(2)))


def table_of(array: np.ndarray, splits=None):
    payloads = [one.tobytes() for one in array]
    return sample_rows(payloads, ["a"] * len(payloads), splits)


@given(SAMPLES, st.lists(st.integers(0, 12), max_size=4))
def test_the_moments_are_numpys_whatever_the_sharding(array, cuts):
    table = table_of(array)
    edges = sorted({0, *(min(cut, len(array)) for cut in cuts), len(array)})
    pieces = [table.slice(low, high - low) for low, high in pairwise(edges)]
    found = merged([moments(piece, kind_name="tally")[0] for piece in pieces])
    whole = array.reshape(-1, 2).astype(np.float64)
    assert found == merged([moments(table, kind_name="tally")[0]])
    assert found["shapes"] == [[2, 3, 2]]
    assert found["mean"] == pytest.approx(whole.mean(axis=0), rel=1e-12, abs=1e-12)
    std = whole.std(axis=0)
    assert found["std"] == pytest.approx(np.where(std == 0, 1, std), rel=1e-12, abs=1e-12)


def test_sums_beyond_floats_are_exact():
    """10⁹ million-pixel shards of values near 255: float64 sums of squares would lose the variance."""
    table = MOMENTS.empty_table().to_pylist()
    for count, total, squares in ((2**40, 255 * 2**40, 255**2 * 2**40), (1, 254, 254**2)):
        table.append({"shape": [1, 1, 1], "channel": 0, "count": count, "sum": total, "squares": squares})
    found = merged([MOMENTS.empty_table().from_pylist(table, schema=MOMENTS)] * 3)
    share = 1 / (2**40 + 1)
    assert found["std"][0] == pytest.approx((share * (1 - share)) ** 0.5, rel=1e-12)


def test_only_training_rows_count_and_all_shapes_are_told():
    whole = np.random.default_rng(3).integers(0, 256, (4, 28, 28), np.uint8)
    small = png(np.zeros((8, 8), np.uint8))
    table = sample_rows([*map(png, whole), small], ["a"] * 5, ["train", "train", "test", "validation", "test"])
    found = merged([moments(table, kind_name="image")[0]])
    assert found["shapes"] == [[8, 8, 1], [28, 28, 1]]
    assert found["mean"][0] == pytest.approx(whole[:2].mean(), rel=1e-12)


def test_no_rows_and_flat_channels_divide_by_nothing():
    assert merged([moments(table_of(np.zeros((0, 2, 3, 2), np.uint8)), kind_name="tally")[0]])["shapes"] == []
    found = merged([moments(table_of(np.full((3, 2, 3, 2), 9, np.uint8)), kind_name="tally")[0]])
    assert found["mean"] == [9.0, 9.0] and found["std"] == [1.0, 1.0]


@given(SAMPLES)
def test_values_are_the_formulas(array):
    wide = array.astype(np.float64)
    mean, std = wide.reshape(-1, 2).mean(axis=0), wide.reshape(-1, 2).std(axis=0) + 0.5
    forms = {
        "bytes": (wide, {}),
        "unit": (wide / 255, {}),
        "signed": (wide / 127.5 - 1, {}),
        "standard": ((wide - mean) / std, {"mean": mean.tolist(), "std": std.tolist()}),
    }
    for name, (formula, said) in forms.items():
        found = values(array, {"values": name, **said})
        assert found.dtype == np.float32 and np.array_equal(found, formula.astype(np.float32))
        assert np.array_equal(found[:1], values(array[:1], {"values": name, **said}))


def test_ranges_end_where_they_say():
    ends = np.array([[0], [255]], np.uint8)
    assert values(ends, {"values": "unit"}).ravel().tolist() == [0, 1]
    assert values(ends, {"values": "signed"}).ravel().tolist() == [-1, 1]


def test_statistics_of_other_channels_are_refused():
    with pytest.raises(DsrayError, match="3 channels"):
        values(np.zeros((1, 2, 2, 3), np.uint8), {"values": "standard", "mean": [1.0], "std": [1.0]})
