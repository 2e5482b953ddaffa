"""survey: exact quantiles and medians over all decodable rows, whatever the shards."""

import numpy as np
import pandas as pd
import pytest

from deciding import by_rule, verdicts
from lakes import rows

SIZES = ([300], [7, 1, 90, 100, 999], [299, 1])
ALONE = {"duplicates": {"exact": False}}


@pytest.mark.parametrize("sizes", SIZES)
def test_the_blurriest_tenth_goes_by_the_quantile_that_pandas_finds(store, sizes):
    made = rows(300, error=["truncated" if n % 29 == 0 else None for n in range(300)],
                refused=["robots" if n % 31 == 0 else None for n in range(300)])  # fmt: skip
    drop = {"blur": {"min_quantile": 0.1}, "side": {"max_quantile": 0.9}}
    table = verdicts(store, made, ALONE | {"drop": drop}, sizes)
    frame = pd.DataFrame(made)
    good = frame[frame.error.isna() & frame.refused.isna()]
    low, high = good.blur.quantile(0.1), good.side.quantile(0.9)
    found = by_rule(table)
    assert found["blur"] == [n for n in good.index if good.blur[n] < low and n not in found["side"]]
    assert set(found["blur"]) | set(found["side"]) == set(good.index[(good.blur < low) | (good.side > high)])
    assert table["threshold"][found["blur"][0]].as_py() == f"min {low:g} (quantile 0.1)"
    assert found["undecodable"] and found["robots"]


@pytest.mark.parametrize("sizes", SIZES)
def test_outliers_of_signals_and_features_are_found(store, sizes):
    random = np.random.default_rng(0)
    features = [random.integers(100, 140, 8).tolist() for _ in range(300)]
    features[5], sides = [0, 255] * 4, [float(200 + n % 9) for n in range(300)]
    sides[9] = 5000.0
    made = rows(300, features=features, side=sides)
    table = verdicts(store, made, ALONE | {"outliers": {"signals": {"side": 5}, "features": 8}}, sizes)
    found = by_rule(table)
    assert found["outlier_side"] == [9] and found["outlier_features"] == [5] and len(found[""]) == 298
    assert float(table["value"][5].as_py()) > 8 and table["threshold"][5].as_py() == "max 8 robust z"


def test_without_a_row_that_counts_nothing_is_dropped_by_a_quantile(store):
    made = rows(3, error=["empty"] * 3)
    choices = {"drop": {"blur": {"min_quantile": 0.5}}, "outliers": {"signals": {"side": 3}, "features": 3}}
    assert list(by_rule(verdicts(store, made, choices))) == ["undecodable"]
