"""select: every row kept, or quarantined by the first rule that it fails, with value and threshold."""

from dataclasses import replace

import pyarrow as pa
import pytest

from deciding import by_rule
from deciding import verdicts as decided
from dsray import schema
from dsray.kinds import image
from dsray.selection import drop_of
from dsray.stages.choose.decision import _OUTCOME
from dsray.stages.choose.rules import Judge, failures
from dsray.stages.label import labels
from dsray.stages.select import verdicts
from lakes import rows
from rows import facts_of

Drop = drop_of(image.BOUNDS, image.MEANINGS, image.FLAGS)
DROP = Drop.model_validate({"min_side": 16, "low_information": {"min": 0.5}})
JUDGE = Judge(DROP.ranges(), unlabelled=True)
SPLIT = {"train": 0.8, "validation": 0.1, "test": 0.1}
DIGIT = {"pattern": {"column": "caption", "regex": r"digit (\d)"}}


@pytest.fixture(scope="module")
def family(raw):
    return raw, facts_of(raw), labels(raw, labellers=[DIGIT])[0]


def judge(family, outcome=None, judge=JUDGE, weights=None):
    return verdicts(*family, outcome, judge=judge, split=SPLIT, seed=7, weights=weights)


def outcome_of(*found):
    return pa.Table.from_pylist([dict.fromkeys(_OUTCOME.names) | one for one in found], schema=_OUTCOME)


def test_each_defect_fails_its_rule_with_value_and_threshold(family):
    table, counts = judge(family)
    found = {row: (table["rule"][row].as_py(), table["threshold"][row].as_py()) for row in range(17, 24)}
    assert found == {
        17: ("undecodable", "decodable"),
        18: ("undecodable", "decodable"),
        19: ("undecodable", "decodable"),
        20: ("low_information", "min 0.5"),
        21: (None, None),
        22: ("min_side", "min 16"),
        23: ("robots", ""),
    }
    assert [table["value"][row].as_py() for row in (17, 18, 20, 22)] == ["truncated", "empty", "0", "12"]
    assert counts["in"] == counts["kept"] + counts["quarantined"] == 24
    assert sum(n for name, n in counts.items() if name.startswith("rule:")) == counts["quarantined"]


def test_an_outcome_drops_rows_and_names_clusters_and_splits(family):
    told = outcome_of({"row": 1, "rule": "cap_label", "value": "class 1", "threshold": "at most 3"},
                      {"row": 2, "cluster": "f" * 32, "split": "test"}, {"row": 17, "rule": "superseded"})  # fmt: skip
    table, counts = judge(family, told)
    assert [table[name][1].as_py() for name in ("rule", "kept", "split")] == ["cap_label", False, None]
    assert (table["cluster"][2].as_py(), table["split"][2].as_py()) == ("f" * 32, "test")
    assert table["rule"][17].as_py() == "superseded"  # before what the row itself is
    assert table["cluster"][3] == table["id"][3] and counts["rule:cap_label"] == 1


def test_kept_rows_have_a_split_and_no_others(family):
    table, _ = judge(family)
    assert [s is not None for s in table["split"].to_pylist()] == table["kept"].to_pylist()
    assert set(table["split"].drop_null().to_pylist()) <= set(schema.SPLITS)


def test_only_training_rows_weigh(family):
    table, _ = judge(family, weights={str(digit): 0.5 + digit for digit in range(10)})
    weighed = [weight is not None for weight in table["weight"].to_pylist()]
    assert weighed == [split == "train" for split in table["split"].to_pylist()]
    assert judge(family)[0]["weight"].null_count == 24


def test_a_batch_equals_its_halves(family):
    told = [{"row": 1, "rule": "cap_label"}, {"row": 12, "cluster": "f" * 32}]
    whole, _ = judge(family, outcome_of(*told))
    first, _ = judge([part.slice(0, 11) for part in family], outcome_of(told[0]))
    second, _ = judge([part.slice(11) for part in family], outcome_of(told[1] | {"row": 1}))
    assert whole.equals(pa.concat_tables([first, second]))


def test_a_threshold_moves_only_rows_that_it_concerns(family):
    stricter = Judge(Drop.model_validate({"min_side": 20, "low_information": {"min": 0.5}}).ranges(), unlabelled=True)
    assert judge(family)[0]["split"].equals(judge(family, judge=stricter)[0]["split"])


def test_unlabelled_rows_stay_when_the_recipe_says_so(raw, family):
    nothing = labels(raw, labellers=[])[0]
    strict = failures(raw, family[1], nothing, Judge(unlabelled=True))
    loose = failures(raw, family[1], nothing, Judge())
    assert strict["rule"].to_pylist()[0] == "unlabelled" and loose["rule"].to_pylist()[0] is None


def test_a_flag_says_yes_where_it_should_say_no(family):
    raw, found, told = family
    moving = found.set_column(
        found.schema.get_field_index("animated"), "animated", pa.array([n % 2 == 0 for n in range(24)])
    )
    dropped = failures(raw, moving, told, Judge(Drop.model_validate({"animated": True}).ranges())).slice(0, 2)
    assert dropped.to_pylist()[0] == {"rule": "animated", "value": "yes", "threshold": "no"}
    assert dropped.to_pylist()[1]["rule"] is None


def test_labellers_that_contradict_each_other_are_a_rule(family):
    raw, found, told = family
    share = [0.5 if n == 3 else None if n == 4 else 0.6 for n in range(24)]
    split = told.set_column(told.column_names.index("agreement"), "agreement", pa.array(share, pa.float64()))
    dropped = failures(raw, found, split, replace(Judge(), agreement=0.6)).slice(0, 17)
    assert [n for n, rule in enumerate(dropped["rule"].to_pylist()) if rule] == [3]
    assert dropped.to_pylist()[3] == {"rule": "conflicting", "value": "0.5", "threshold": "min 0.6"}


def test_shards_that_do_not_change_keep_their_outcome(store):
    """A row that doubles one of the third shard tells nothing new to the first two."""
    from deciding import recipe_of
    from dsray.engine.exchange import Here
    from dsray.stages.choose import decision
    from lakes import families

    def written(made):
        of_shards, here = families(store, made, (40, 40, 999)), Here()
        found = decision.decide(of_shards, recipe_of({}), store, here, ())
        done = [decision.write(state, group, store=store, split_told=False)
                for state, group in zip(found.states, found.groups, strict=True)]  # fmt: skip
        return decision.receipts(done)

    made = rows(120)
    made[5]["digest"] = made[50]["digest"]
    before, after = written(made), written([*made, dict(rows(1, seed=9)[0], digest=made[100]["digest"])])
    assert before.keys() < {0, 1} and after.keys() == {*before, 2}
    assert all(after[shard] == receipt for shard, receipt in before.items())


def test_the_rules_of_a_row_come_before_those_of_all(store):
    made = rows(30, blur=[1.0 if n < 10 else 100.0 + n for n in range(30)], digest=["ab" * 32] * 30)
    table = decided(store, made, {"drop": {"blur": {"min": 50}}, "cap": {"label": 1}})
    found = by_rule(table)
    assert len(found["blur"]) == 10 and len(found["exact_duplicate"]) == 19 and len(found[""]) == 1
