"""augment: copies by class, evenly, in pairs, with steps of one's own; each can be made again from its parents."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsray import build, schema
from dsray import recipe as recipes
from dsray.errors import RecipeError
from dsray.kinds import kind
from dsray.stages.augment import again, copies, policies
from rows import drawing, png, sample_rows

TALLY = {"copies": 1, "add": 9, "mix": False}
OWN = [{"function": "tally:invert", "by": 250}]
IMAGE = {"copies": 2, "rotate": 12.0, "scale": [0.9, 1.1], "noise": 0.03}


def table_of(rows: int) -> pa.Table:
    """Rows of the kind tally in three classes, every other with an object, one in five not for training."""
    payloads = [np.random.default_rng(row).integers(0, 256, 12, np.uint8).tobytes() for row in range(rows)]
    box = {"label": "x", "y": 0.0, "width": 1.0, "height": 1.0, "polygon": None}
    marks = [[{**box, "x": float(row)}] if row % 2 else None for row in range(rows)]
    return sample_rows(
        payloads,
        ["abc"[row % 3] for row in range(rows)],
        ["test" if row % 5 == 4 else "train" for row in range(rows)],
        objects=pa.array(marks, pa.list_(schema.OBJECT)),
        weight=pa.array([float(row) for row in range(rows)]),
    )


TABLE = table_of(24)


def tally(table: pa.Table, **said) -> pa.Table:
    return copies(table, **{"kind_name": "tally", "seed": 7, "spec": TALLY, **said})[0]


def asked(**said) -> recipes.Augment:
    text = "dataset: d\nkind: tally\ncollect: {f: {files: {path: x}}}\n"
    found = recipes.parse(text + f"augment: {json.dumps(said)}\n").augment
    assert found is not None
    return found


def rows_of(table: pa.Table) -> dict[str, dict]:
    return {row["id"]: row for row in table.to_pylist()}


def replayed(of_kind, made: pa.Table, parents: pa.Table) -> None:
    """Every row is made again, byte for byte, from its parents and its own column `transform`."""
    known = rows_of(parents)

    def marked(row_id: str):
        return known[row_id]["media"]["bytes"], known[row_id]["objects"] or []

    for row in made.to_pylist():
        transform = json.loads(row["transform"])
        partner = marked(transform["partner"]) if "partner" in transform else None
        media, objects = again(of_kind, transform, marked(row["parent"]), partner)
        assert (media, objects or None) == (row["media"]["bytes"], row["objects"])


def test_copies_are_of_training_rows_one_after_the_other():
    made, counts = copies(TABLE, kind_name="tally", seed=7, spec=TALLY | {"copies": 2})
    train = [row["id"] for row in TABLE.to_pylist() if row["split"] == "train"]
    assert made["parent"].to_pylist() == [one for one in train for _ in range(2)]
    assert counts["in"] == counts["kept"] == 2 * len(train)
    assert len(set(made["id"].to_pylist())) == made.num_rows
    parents = rows_of(TABLE)
    for row in made.to_pylist():
        assert (row["label"], row["weight"]) == tuple(parents[row["parent"]][name] for name in ("label", "weight"))


def test_classes_have_copies_and_transforms_of_their_own():
    wanted = asked(copies=1, add=9, classes={"a": {"copies": 3}, "b": {"copies": 0}, "c": {"add": 0}})
    classes = policies(wanted, {label: {"train": 8} for label in "abc"})
    made = tally(TABLE, spec=wanted.spec(), classes=classes).to_pylist()
    labels = [row["label"] for row in TABLE.to_pylist() if row["split"] == "train"]
    for label, due in (("a", 3), ("b", 0), ("c", 1)):
        assert sum(row["label"] == label for row in made) == due * labels.count(label)
    added = [json.loads(row["transform"])["add"] for row in made if row["label"] == "c"]
    assert set(added) == {0}
    plain = rows_of(tally(TABLE))
    for row in made:  # what is said of one class changes no row of another, nor the first copy
        if row["label"] == "a" and row["id"] in plain:
            assert row == plain[row["id"]]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"classes": {"a": {"ad": 1}}}, "r.yaml:4: augment.classes.a.ad: unknown key; did you mean `add`?"),
        ({"classes": {"a": {"copies": 65}}}, "augment.classes.a.copies: input should be less than or equal to 64"),
        ({"own": [{"function": "tally"}]}, "augment.own.0.function: it is not `module:function` (got 'tally')."),
        ({"evn": 3}, "augment.evn: unknown key; did you mean `even`?"),
    ],
)
def test_a_wrong_policy_is_one_sentence(said, words):
    text = f"dataset: d\nkind: tally\ncollect: {{f: {{files: {{path: x}}}}}}\naugment: {json.dumps(said)}\n"
    with pytest.raises(RecipeError) as caught:
        recipes.parse(text, "r.yaml")
    assert words in str(caught.value)


def test_yaml_numbers_are_labels_and_only_what_is_said_is_kept():
    said = "{classes: {7: {rotate: 20}}, own: [{function: 'a:b', k: 2}]}"
    text = f"dataset: d\ncollect: {{f: {{files: {{path: x}}}}}}\naugment: {said}\n"
    full = recipes.parse(text)
    assert full.augment and full.augment.model_dump(mode="json")["classes"] == {"7": {"rotate": 20.0}}
    assert type(full).model_validate(full.model_dump(mode="json")) == full


def test_a_build_makes_copies_and_looks_at_numbers_only_when_asked():
    def names(more: str) -> set[str]:
        recipe = recipes.parse("dataset: d\ncollect: {f: {files: {path: x}}}\n" + more)
        return {name for name, *_ in build.stages(recipe)}

    assert not {"augment", "moments"} & names("release: {values: signed}")
    assert "moments" in names("release: {values: standard}") & names("release: {tensor: true}")
    assert "augment" not in names("augment: {copies: 0, rotate: 3}")
    assert "augment" in names("augment: {copies: 0, even: 3}") & names(
        "augment: {copies: 0, classes: {a: {copies: 1}}}"
    )


def test_a_policy_that_says_what_all_say_is_no_difference():
    assert policies(asked(copies=2, classes={"a": {"copies": 2}}), {"a": {"train": 3}}) == {}


def test_a_class_that_no_row_has_is_refused():
    with pytest.raises(RecipeError, match=r"no row has the label 'z'. There are: a, b."):
        policies(asked(classes={"z": {"copies": 2}}), {"a": {}, "b": {"train": 3}})


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 1000), min_size=1),
    st.integers(0, 3),
    st.integers(1, 12),
)
def test_even_brings_each_class_as_near_to_the_largest_as_the_most_copies_let_it(rows, base, most):
    classes = {label: {"train": count} for label, count in rows.items()}
    found = policies(asked(copies=base, even=most), classes)
    target = max(rows.values()) * (1 + base)
    for label, count in rows.items():
        got = found.get(label, {"copies": base})["copies"]
        allowed = range(base, max(base, most) + 1)
        assert got in allowed
        if count:
            assert abs(count * (1 + got) - target) == min(abs(count * (1 + one) - target) for one in allowed)


def test_what_is_said_of_a_class_wins_over_even():
    found = policies(asked(copies=1, even=9, classes={"b": {"copies": 2}}), {"a": {"train": 90}, "b": {"train": 9}})
    assert found["b"]["copies"] == 2


@settings(max_examples=30)
@given(st.integers(0, 24), st.integers(0, 3), st.integers(0, 3))
def test_a_batch_equals_its_halves(cut, a, b):
    said = {"classes": {"a": TALLY | {"copies": a}, "b": TALLY | {"copies": b, "add": 99}}, "own": OWN}
    halves = [tally(TABLE.slice(*piece), **said) for piece in ((0, cut), (cut,))]
    assert tally(TABLE, **said).equals(pa.concat_tables(halves))


@settings(max_examples=20)
@given(st.permutations(range(24)))
def test_the_order_of_rows_changes_no_row_not_even_pairs(order):
    said = {"spec": TALLY | {"mix": True, "copies": 2}}
    assert rows_of(tally(TABLE.take(order), **said)) == rows_of(tally(TABLE, **said))


def test_pairs_name_the_second_parent_its_label_and_the_share():
    made = tally(TABLE, spec=TALLY | {"mix": True, "copies": 20}, own=OWN)
    train = {one: row for one, row in rows_of(TABLE).items() if row["split"] == "train"}
    met: dict[str, set[str]] = {}
    for row in made.to_pylist():
        mixed, transform = row["mixed"], json.loads(row["transform"])
        assert mixed["parent"] == transform["partner"] in train
        assert mixed["parent"] != row["parent"]
        assert mixed["label"] == train[mixed["parent"]]["label"]
        assert mixed["share"] == transform["mix"]["share"]
        met.setdefault(row["parent"], set()).add(mixed["parent"])
    assert min(len(others) for others in met.values()) > len(train) / 3  # any row may be met
    assert set.union(*met.values()) == set(train)
    replayed(kind("tally"), made, TABLE)


def test_a_single_row_is_mixed_with_nothing():
    made = tally(TABLE.slice(0, 1), spec=TALLY | {"mix": True}).to_pylist()
    assert made[0]["mixed"] is None and not {"mix", "partner"} & json.loads(made[0]["transform"]).keys()
    assert tally(TABLE.slice(0, 0)).num_rows == 0


def test_images_are_made_again_with_and_without_own_steps():
    table = sample_rows([png(drawing(seed)) for seed in range(5)], list("aabbc"))
    for own in ([], OWN):
        made, counts = copies(table, kind_name="image", seed=7, spec=IMAGE, own=own)
        assert counts["kept"] == 10
        replayed(kind("image"), made, table)


def test_mixed_images_are_made_again():
    table = sample_rows([png(drawing(seed)) for seed in range(9)], list("aabbccabc"))
    spec = IMAGE | {"copies": 4, "mixup": 0.4, "cutmix": 0.4}
    made, counts = copies(table, kind_name="image", seed=7, spec=spec, own=OWN)
    hows = {json.loads(one).get("mix", {}).get("how") for one in made["transform"].to_pylist()}
    assert hows == {"mixup", "cutmix", None} and counts["kept"] == 36
    assert counts["has:mixed"] == sum('"partner"' in one for one in made["transform"].to_pylist()) < 36
    replayed(kind("image"), made, table)


def test_own_steps_come_last_and_get_numbers_that_are_keyed():
    plain, own = tally(TABLE).to_pylist(), tally(TABLE, own=OWN).to_pylist()
    inverted = 0
    for before, after in zip(plain, own, strict=True):
        (step,) = json.loads(after["transform"])["own"]
        assert step["options"] == {"by": 250} and len(step["u"]) == 8
        array = np.frombuffer(before["media"]["bytes"], np.uint8)
        found = np.frombuffer(after["media"]["bytes"], np.uint8)
        inverted += step["u"][0] < 0.8
        assert np.array_equal(found, 250 - array if step["u"][0] < 0.8 else array)
    assert 0 < inverted < len(own)


def test_an_own_step_that_changes_the_shape_stops_the_build():
    with pytest.raises(RecipeError, match=r"'tally:crop' made uint8 \(1, 3, 2\) of uint8 \(2, 3, 2\)"):
        tally(TABLE, own=[{"function": "tally:crop"}])


def test_a_sample_that_cannot_be_transformed_is_quarantined_and_stops_no_other():
    table = sample_rows([png(drawing(1)), b"no image", png(drawing(2))], list("abc"))
    made, counts = copies(table, kind_name="image", seed=7, spec=IMAGE | {"copies": 1})
    assert (counts["in"], counts["kept"], counts["quarantined"]) == (3, 2, 1)
    assert made["error"].to_pylist()[1]
