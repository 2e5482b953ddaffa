"""select: every row kept, or quarantined by the first rule that it fails, with value and threshold."""

from functools import partial

import numpy as np
import pyarrow as pa
import pytest

from dsray import schema
from dsray.kinds import image
from dsray.selection import drop_of
from dsray.stages import twins
from dsray.stages.label import labels
from dsray.stages.measure import facts
from dsray.stages.select import failures, verdicts

Drop = drop_of(image.BOUNDS, image.MEANINGS, image.FLAGS)
DROP = Drop.model_validate({"min_side": 16, "low_information": {"min": 0.5}})
SPLIT = {"train": 0.8, "validation": 0.1, "test": 0.1}
DIGIT = {"pattern": {"column": "caption", "regex": r"digit (\d)"}}


@pytest.fixture(scope="module")
def family(raw):
    return raw, facts(raw, kind_name="image")[0], labels(raw, labellers=[DIGIT])[0]


def judge(family, twin_rows=None, seed=7, rules=None):
    rules = rules or partial(failures, rules=DROP.ranges(), unlabelled=True)
    return verdicts(*family, rules=rules, twin_rows=twin_rows or {}, split=SPLIT, seed=seed, radius=2)


def twins_of(family, exact=True, radius=2):
    rules = partial(failures, rules=DROP.ranges(), unlabelled=True)
    passed = family[1].filter(rules(*family)["rule"].is_null())
    return twins.resolve(twins.edges(twins.keyed(passed, exact, radius, "side"), radius))


def test_each_defect_fails_its_rule_with_value_and_threshold(family):
    table, counts = judge(family, twins_of(family))
    found = {row: (table["rule"][row].as_py(), table["threshold"][row].as_py()) for row in range(17, 24)}
    assert found == {
        17: ("undecodable", "decodable"),
        18: ("undecodable", "decodable"),
        19: ("undecodable", "decodable"),
        20: ("low_information", "min 0.5"),
        21: ("exact_duplicate", "same bytes") if not table["kept"][21].as_py() else (None, None),
        22: ("min_side", "min 16"),
        23: ("robots", ""),
    }
    assert [table["value"][row].as_py() for row in (17, 18, 20, 22)] == ["truncated", "empty", "0", "12"]
    assert counts["in"] == counts["kept"] + counts["quarantined"] == 24
    assert sum(n for name, n in counts.items() if name.startswith("rule:")) == counts["quarantined"]


def test_of_two_equal_rows_one_stays(family):
    table, _ = judge(family, twins_of(family))
    assert sorted([table["kept"][1].as_py(), table["kept"][21].as_py()]) == [False, True]
    assert table["cluster"][1] == table["cluster"][21]


def test_without_twins_all_rows_are_their_own_cluster(family):
    table, _ = judge(family)
    assert table["cluster"].equals(table["id"])


def test_kept_rows_have_a_split_and_no_others(family):
    table, _ = judge(family, twins_of(family))
    assert [s is not None for s in table["split"].to_pylist()] == table["kept"].to_pylist()
    assert set(table["split"].drop_null().to_pylist()) <= set(schema.SPLITS)


def test_a_batch_equals_its_halves(family):
    twin_rows = twins_of(family)
    whole, _ = judge(family, twin_rows)
    halves = [judge([part.slice(*cut) for part in family], twin_rows)[0] for cut in ((0, 11), (11, None))]
    assert whole.equals(pa.concat_tables(halves))


def test_a_threshold_moves_only_rows_that_it_concerns(family):
    before, _ = judge(family)
    stricter = partial(
        failures, rules=Drop.model_validate({"min_side": 20, "low_information": {"min": 0.5}}).ranges(), unlabelled=True
    )
    after, _ = judge(family, rules=stricter)
    assert before["split"].equals(after["split"])


def test_splits_have_their_shares_and_stay_when_rows_come():
    from dsray.stages.select import _splits

    ids = [f"{row:016x}" + "0" * 16 for row in np.random.default_rng(0).integers(0, 2**62, 20_000)]
    splits = _splits(ids, SPLIT, 7)
    assert abs(splits.count("train") / 20_000 - 0.8) < 0.02
    assert abs(splits.count("test") / 20_000 - 0.1) < 0.01
    assert _splits(ids[:50], SPLIT, 7) == splits[:50]
    assert _splits(ids, SPLIT, 8) != splits


def test_unlabelled_rows_stay_when_the_recipe_says_so(raw, family):
    nothing = labels(raw, labellers=[])[0]
    strict = failures(raw, family[1], nothing, rules=[], unlabelled=True)
    loose = failures(raw, family[1], nothing, rules=[], unlabelled=False)
    assert strict["rule"].to_pylist()[0] == "unlabelled" and loose["rule"].to_pylist()[0] is None
