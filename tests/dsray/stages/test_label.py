"""label: the first labeller that answers wins; a label row for each raw row."""

import pyarrow as pa
import pytest

from dsray.stages.label import labels
from rows import raw_table

DIGIT = {"pattern": {"column": "caption", "regex": r"digit (\d)"}}
WORD = {"pattern": {"column": "caption", "regex": r"(one|two)"}}


@pytest.mark.parametrize(
    ("caption", "label"), [("a digit 7, by hand", "7"), ("nothing", None), (None, None), ("", None)]
)
def test_the_label_is_the_first_group(caption, label):
    table, counts = labels(raw_table([b"x"], [caption]), labellers=[DIGIT])
    assert table["label"].to_pylist() == [label]
    assert counts == {"labelled": int(label is not None)}


def test_the_first_labeller_wins_and_says_who_it_is():
    table, _ = labels(raw_table([b"x", b"y"], ["digit 1 one", "two"]), labellers=[DIGIT, WORD])
    assert table["label"].to_pylist() == ["1", "two"]
    assert table["label_source"].to_pylist() == ["pattern:caption", "pattern:caption"]


def test_a_column_that_is_not_there_labels_nothing(raw):
    table, _ = labels(raw, labellers=[{"pattern": {"column": "alt", "regex": "(x)"}}])
    assert table["label"].null_count == raw.num_rows


def test_a_batch_equals_its_halves(raw):
    whole, _ = labels(raw, labellers=[DIGIT])
    assert whole.equals(
        pa.concat_tables([labels(part, labellers=[DIGIT])[0] for part in (raw.slice(0, 5), raw.slice(5))])
    )
