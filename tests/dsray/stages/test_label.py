"""label: every labeller is asked, all answers are kept with their source, and combined; a label row each raw row."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsray import recipe, schema
from dsray.build import check
from dsray.errors import RecipeError, SourceError
from dsray.labels import patterns
from dsray.labels.model import fit
from dsray.stages.label import combined, labels
from rows import facts_of, raw_table

DIGIT = {"pattern": {"column": "caption", "regex": r"digit (\d)"}}
WORD = {"pattern": {"column": "caption", "regex": r"(one|two)"}}
SOURCE = {"column": {"name": "source"}}
HERE = "labellers"


def rule(function: str, **more) -> dict:
    return {"rule": {"function": f"{HERE}:{function}", **more}}


@pytest.mark.parametrize(
    ("caption", "label"), [("a digit 7, by hand", "7"), ("nothing", None), (None, None), ("", None)]
)
def test_the_label_is_the_first_group(caption, label):
    table, counts = labels(raw_table([b"x"], [caption]), labellers=[DIGIT])
    assert table["label"].to_pylist() == [label]
    assert counts == {"labelled": int(label is not None), "conflicts": 0}


def test_the_first_labeller_wins_and_all_are_kept():
    table, counts = labels(raw_table([b"x", b"y"], ["digit 1 one", "two"]), labellers=[DIGIT, WORD])
    assert table.schema.equals(schema.LABELS)
    assert table["label"].to_pylist() == ["1", "two"]
    assert table["label_source"].to_pylist() == ["pattern:caption", "pattern:caption 2"]
    assert table["agreement"].to_pylist() == [0.5, 1.0]
    assert [[(v["source"], v["label"]) for v in row] for row in table["votes"].to_pylist()] == [
        [("pattern:caption", "1"), ("pattern:caption 2", "one")],
        [("pattern:caption 2", "two")],
    ]
    assert counts == {"labelled": 2, "conflicts": 1}


def test_a_column_is_the_label_or_what_the_map_says():
    raw = raw_table([b"a", b"b", b"c", b"d"], ["cat", " dog ", "", None])
    plain, _ = labels(raw, labellers=[{"name": "mine", "column": {"name": "caption"}}])
    assert plain["label"].to_pylist() == ["cat", "dog", None, None]
    assert plain["label_source"].to_pylist() == ["mine", "mine", None, None]
    mapped, _ = labels(raw, labellers=[{"column": {"name": "caption", "map": {"cat": "animal"}}}])
    assert mapped["label"].to_pylist() == ["animal", None, None, None]


def test_a_column_that_is_not_there_labels_nothing(raw):
    table, _ = labels(raw, labellers=[{"pattern": {"column": "alt", "regex": "(x)"}}, {"column": {"name": "alt"}}])
    assert table["label"].null_count == raw.num_rows


def test_a_rule_sees_the_row_and_its_facts(raw):
    facts = facts_of(raw)
    table, counts = labels(raw, facts, labellers=[rule("bright"), rule("sure")])
    brightness = facts["brightness"].to_pylist()
    for row, value in zip(table.to_pylist(), brightness, strict=True):
        said = {vote["source"]: vote for vote in row["votes"]}
        assert said["rule:labellers:sure"]["confidence"] == 0.75
        assert ("rule:labellers:bright" in said) == (value is not None)
        assert value is None or row["label"] == ("bright" if value > 40 else "dark")
    assert "failed" not in " ".join(counts)


def test_a_rule_gets_the_payload_only_when_it_asks(raw):
    facts = facts_of(raw.slice(0, 3))
    names = ["id", "url", "page", "source", "caption"]
    table, _ = labels(raw.slice(0, 3).select([*names, "payload"]), facts, labellers=[
        rule("nosy"), rule("nosy", media=True), rule("heavy", media=True, confidence=0.5)])  # fmt: skip
    without, with_, heavy = table["votes"].to_pylist()[0]
    assert {*without["label"].split(",")} == {*names, *facts.column_names}
    assert {*with_["label"].split(",")} == {*names, *facts.column_names, "payload"}
    assert heavy["confidence"] == 0.5


def test_a_rule_that_raises_or_says_nonsense_abstains_and_is_counted(raw):
    table, counts = labels(raw, labellers=[rule("odd"), rule("bright")])  # no facts: bright raises on each row
    last = [caption[-1] for caption in raw["caption"].to_pylist()]
    said = {"1": None, "2": None, "3": None, "4": None, "5": "y"}
    assert table["label"].to_pylist() == [said.get(one, "z") for one in last]
    assert counts["failed:0:TypeError"] == last.count("1") + last.count("2")
    assert counts["failed:1:KeyError"] == raw.num_rows


SAID = {"0": {"r": [["ann", "x", 1.0, None], ["bob", "y", 0.5, []], ["", None, 1.0, [
    {"label": "x", "x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0, "polygon": None}]]]}}  # fmt: skip


def test_a_files_answers_are_votes_of_its_annotators_and_objects_the_first_that_marked(raw):
    row = raw["id"][3].as_py()
    imported = {"0": {row: SAID["0"]["r"]}, "1": {row: [["", "z", 1.0, SAID["0"]["r"][2][3]]]}}
    ways = [{"file": {"path": "a/l.csv"}}, {"name": "team", "file": {"path": "m.csv"}}]
    table, counts = labels(raw, labellers=ways, imported=imported)
    found = table.to_pylist()[3]
    assert [(v["source"], v["label"], v["confidence"]) for v in found["votes"]] == [
        ("file:l.csv:ann", "x", 1.0), ("file:l.csv:bob", "y", 0.5), ("team", "z", 1.0)]  # fmt: skip
    assert found["objects"] == [], "bob looked, and there was nothing"
    assert (found["label"], found["label_source"]) == ("x", "file:l.csv:ann")
    assert table["objects"].null_count == raw.num_rows - 1
    assert counts == {"labelled": 1, "conflicts": 1}


WAYS = [DIGIT, rule("odd"), SOURCE, rule("sure")]


@pytest.mark.parametrize("how", ["precedence", "majority", "model"])
@settings(max_examples=8)
@given(cut=st.integers(0, 24), order=st.permutations(range(24)))
def test_a_batch_equals_its_halves_and_order_changes_nothing(how, cut, order, raw):
    whole, _ = made(raw, how)
    parts = [raw.slice(0, cut), raw.slice(cut)]
    halves = [labels(part, labellers=WAYS, combine=None)[0] for part in parts]
    learned = model_of(halves)
    assert pa.concat_tables([combined(half, how=how, model=learned)[0] for half in halves]).equals(whole)
    shuffled, _ = made(raw.take(order), how)
    assert shuffled.equals(whole.take(order))


def model_of(votes: list[pa.Table]):
    counted = patterns.count(pa.concat_tables(votes)["votes"])
    return fit(counted)


def made(raw: pa.Table, how: str):
    votes, _ = labels(raw, labellers=WAYS, combine=None)
    return combined(votes, how=how, model=model_of([votes]))


def test_no_rows_are_no_labels(raw):
    for how in ("precedence", "majority"):
        table, counts = labels(raw.slice(0, 0), labellers=WAYS, combine=how)
        assert table.equals(schema.LABELS.empty_table()) and counts == {"labelled": 0, "conflicts": 0}


RECIPE = {"dataset": "d", "collect": {"f": {"files": {"path": "."}}}}


@pytest.mark.parametrize("function", ["no_such_module:f", "labellers:no_such_function"])
def test_a_rule_that_is_not_there_stops_before_anything_starts(function):
    wanted = recipe.model().model_validate({**RECIPE, "label": [{"rule": {"function": function}}]})
    with pytest.raises(RecipeError, match="cannot be had"):
        check(wanted)


def test_a_file_that_is_not_there_stops_before_anything_starts(tmp_path):
    wanted = recipe.model().model_validate({**RECIPE, "label": [{"file": {"path": str(tmp_path / "l.csv")}}]})
    with pytest.raises(SourceError, match="There is no file of labels at"):
        check(wanted)
    (tmp_path / "l.csv").mkdir()
    (tmp_path / "l.csv" / "inner.csv").write_text("id,label\n")
    with pytest.raises(SourceError, match="is a folder, not a file"):
        check(wanted)
