"""documents: the numbers that a release says of itself."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt
from dsray.stages import train
from dsray.stages.checkpoints import packed
from dsray.stages.documents import _of_class, _private, counts, recipe_text
from dsray.stages.select import by_count
from dsray.stages.step import Step, balance


def receipt(name: str, rows: int) -> Receipt:
    return Receipt(f"releases/digits/v1/{name}.parquet", "d", rows, 1, {})


def test_rows_are_counted_by_split_and_origin():
    names = {
        "train/real-00000-of-00002": 3,
        "train/real-00001-of-00002": 4,
        "train/gan-00000-of-00001": 5,
        "test/real-00000-of-00001": 6,
    }
    found = counts([receipt(name, rows) for name, rows in names.items()])
    assert found == {"train": {"real": 7, "gan": 5}, "test": {"real": 6}}


@given(st.integers(0, 5000), st.integers(1, 40))
def test_classes_that_take_turns_share_all_rows(rows, classes):
    assert sum(_of_class(sampled(rows, classes), place) for place in range(classes)) == rows


def test_classes_have_the_rows_that_were_asked_for():
    assert [_of_class(sampled(9, 2, counts=[2, 7]), place) for place in range(2)] == [2, 7]


def sampled(rows: int, classes: int, **options) -> Manifest:
    params = {"classes": [str(number) for number in range(classes)], **options}
    return Manifest("synthesize", 1, "", params, [], [], balance(rows))


def test_rules_come_most_first():
    assert by_count({"a": 1, "b": 3, "c": 1}) == [("b", 3), ("a", 1), ("c", 1)]


def test_the_recipe_in_a_report_is_one_that_runs():
    from pathlib import Path

    from dsray import recipe

    digits = recipe.load(Path("recipes/digits.yaml"))
    assert recipe.parse(recipe_text(digits)) == digits


def test_what_a_private_model_spent_is_read_from_its_weights_when_it_is_trained():
    weights = {f"private.{name}": torch.tensor(value, dtype=torch.float64)
               for name, value in (("epsilon", 9.75), ("delta", 1e-5), ("sigma", 0.5))}  # fmt: skip
    data = packed({"net.weight": torch.ones(2), **weights})
    merf, gan = (Step(f"train {name}", "train", 1, {"architecture": name}, []) for name in ("merf", "gan"))
    spent = train._private(merf, data)
    assert spent["epsilon"] == 9.75 and "Gaussian" in spent["accountant"] and train._private(gan, data) is None
    made = {
        "train merf": merf.manifest([], {}, {"private": spent}),
        "train gan": gan.manifest([], {}, {"private": None}),
    }
    assert [(one.model, one.delta) for one in _private(made)] == [("merf", 1e-5)]
