"""dsray.diff.drift: distributions of the kept rows of two versions."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dsray.dataset import Version
from dsray.diff import drift
from dsray.lake import manifests, shards
from dsray.lake.manifests import Manifest
from dsray.lake.store import Store

values = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=30)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the p-value
@given(values, values)
def test_the_distance_is_that_of_scipy(first, second):
    expected = stats.ks_2samp(first, second, method="asymp").statistic
    assert drift.ks(np.sort(first), np.sort(second)) == pytest.approx(expected)


def version(store: Store, number: int, blur: list[list[float | None]], kept: list[list[bool]]) -> Version:
    """A version of facts and verdicts in some shards."""
    receipts: dict[str, list] = {"measure": [], "select": []}
    for one, keep in zip(blur, kept, strict=True):
        ids = pa.array([str(row) for row in range(len(one))])
        facts = pa.table({"id": ids, "width": pa.array([28] * len(one)), "blur": pa.array(one, pa.float64())})
        receipts["measure"].append(shards.write_named(store, "facts", facts))
        receipts["select"].append(shards.write_named(store, "verdicts", pa.table({"id": ids, "kept": keep})))
    counts = {"in": sum(map(len, blur)), "kept": sum(map(len, blur)), "quarantined": 0}
    for stage, made in receipts.items():
        manifests.publish(store, Manifest(stage, 1, f"{stage}{number}", {}, [], made, counts, {}))
    return Version("d", number, store, {"stages": {stage: {"key": f"{stage}{number}"} for stage in receipts}})


def signals(first: Version, second: Version) -> list[drift.Signal]:
    return drift.signals(first, second, (drift.family(first), drift.family(second)))


def test_only_kept_rows_with_a_value_count(store: Store):
    first = version(store, 1, [[1.0, 2.0, None], [4.0]], [[True, True, True], [False]])
    second = version(store, 2, [[1.0, 2.0, None], [4.0]], [[True, True, True], [True]])
    (blur,) = signals(first, second)
    assert blur.name == "blur" and (blur.before.rows, blur.after.rows) == (2, 3)
    assert blur.before.mean == 1.5 and blur.after.quantiles[1] == 2.0
    assert blur.ks == pytest.approx(1 / 3)


def test_the_same_facts_and_verdicts_are_not_read(store: Store):
    first = version(store, 1, [[1.0]], [[True]])
    for manifest in drift.family(first):
        store.delete(manifest.shards[0].name)
    assert signals(first, first) == []


def test_of_too_many_rows_both_versions_have_the_same_shards(store: Store, monkeypatch):
    monkeypatch.setattr(drift, "_MOST_ROWS", 20)
    blur = [[float(shard)] for shard in range(60)]
    first, second = (version(store, n, blur, [[True]] * 60 if n == 1 else [[True]] * 59 + [[False]]) for n in (1, 2))
    (found,) = signals(first, second)
    assert 5 <= found.before.rows <= 40 and abs(found.before.rows - found.after.rows) <= 1


def test_facts_that_are_gone(store: Store):
    assert drift.family(Version("d", 1, store, {"stages": {"measure": {"key": "a"}, "select": {"key": "b"}}})) is None
