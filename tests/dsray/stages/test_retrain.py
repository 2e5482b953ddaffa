"""Models that stay, models that train again, and models that go on from one before: on a lake, without Ray."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load

from changing import CHOICES, World, small_shards
from dsray import build, keys, planning
from dsray.errors import DsrayError, GateError, RecipeError
from dsray.lake import refs, shards, tombstones
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt
from dsray.lake.tombstones import Order
from dsray.stages import release, retrain, synthesize, train
from dsray.stages.checkpoints import Checkpoints
from dsray.stages.samples import sample_table
from dsray.stages.step import digests
from dsray.upkeep import gc
from inline import inline
from runs import Silent

TRAIN = "train vae"


@pytest.fixture(autouse=True)
def one_thread(store) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with inline(), small_shards():
        yield
    torch.set_num_threads(before)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "source")


def recipe(world: World, family: str = "vae", side: int = 12, **policy: Any):
    said = {name: values[0] for name, values in CHOICES.items()}
    models = {family: {"preset": "tiny", **policy}}
    return world.recipe({**said, "side": side, "synthesize": models})


def trained(world: World, store, recrawl: str | None = "all", **policy: Any) -> Manifest:
    """Brings the model up to date with the source; `recrawl` reads that again."""
    made = build.run(recipe(world, **policy), store, Silent(), recrawl=recrawl, until=TRAIN).made
    return made[TRAIN]


def others(world: World) -> None:
    """Other pictures in place of most: whose rows train, their ids say, and so the folder's name."""
    for name in range(1, 11):
        world.picture(name, 40 + name)


def planned(world: World, store, **policy: Any) -> planning.Planned:
    return next(step for step in planning.plan(recipe(world, **policy), store) if step.name == TRAIN)


def test_without_a_policy_a_key_says_what_it_always_said(world, store):
    first = trained(world, store)
    assert set(first.params) == {"architecture", "config", "seed", "classes"}
    others(world)
    second = trained(world, store)
    assert second.key == keys.key("train", train.VERSION, first.params, second.inputs) != first.key


def test_what_a_model_learned_from_lies_beside_it(world, store):
    made = build.run(recipe(world), store, Silent(), until=TRAIN).made
    rows = shards.read(store, Receipt(**made[TRAIN].details["learned"]["rows"]))
    verdicts = [row for one in made["select"].shards for row in shards.read(store, one).to_pylist()]
    assert rows["id"].to_pylist() == sorted(row["id"] for row in verdicts if row["split"] == "train")
    assert set(rows["shard"].to_pylist()) <= set(made[TRAIN].inputs)


def test_never_keeps_a_model_until_it_is_another_that_is_asked_for(world, store):
    first = trained(world, store, retrain="never")
    others(world)
    kept = trained(world, store, retrain="never")
    assert kept == first
    step = planned(world, store, retrain="never")
    assert step.state == "reuse" and "training rows changed" in step.why and step.why.endswith("never retrains")
    assert trained(world, store, recrawl=None, retrain="never", seed=5).key != first.key
    assert trained(world, store, recrawl=None, retrain="never", side=16).params == first.params  # of other pixels


def test_a_share_says_how_much_may_change(world, store):
    policy = {"retrain": {"changed": 0.8}}
    first = trained(world, store, **policy)
    others(world)
    assert trained(world, store, **policy) == first
    step = planned(world, store, **policy)
    assert step.state == "reuse" and step.why.startswith("kept: ") and "the policy retrains above 80 %" in step.why
    for name in range(14):  # what counts is how far it is from what the model learned from, not from the last build
        world.picture(name, 61 + 2 * name)
    for table in range(3):
        world.table(table, [(100 + 4 * table + row, row) for row in range(4)])
    second = trained(world, store, **policy)
    assert second.key != first.key and second.params == first.params
    assert planned(world, store, **policy).why == ""


def gathered(store, *parts: dict[str, str]) -> dict[str, Manifest]:
    """Sample shards of training rows, id → label, and of a row to test by."""
    receipts = []
    for number, part in enumerate(parts):
        labels = [*part.values(), "1"]
        table = sample_table(
            len(labels), id=pa.array([*part, f"t{number}"]), label=pa.array(labels),
            split=pa.array(["train"] * len(part) + ["test"]),
        )  # fmt: skip
        receipts.append(shards.write_named(store, "shards/gather", table))
    return {"gather": Manifest("gather", 1, "g", {}, [], receipts), "render": Manifest("render", 1, "r", {}, [])}


def test_a_change_counts_rows_that_are_new_gone_or_named_otherwise(store):
    one, two = {"a": "1", "b": "2"}, {"c": "1", "d": "1"}
    before = gathered(store, one, two)
    learned = {"learned": retrain.learned("k", before, store)}
    model = Manifest("train", 2, "k", {}, digests(before["gather"]), details=learned)

    def change(*parts: dict[str, str]) -> tuple[int, int]:
        found = retrain.changed(model, gathered(store, *parts), store)
        return found.differ, found.rows

    assert change(one, two) == change(two, one) == change({"a": "1"}, {"b": "2", **two}) == (0, 4)
    assert change(one, {**two, "e": "1"}) == (1, 5)
    assert change(one, {"c": "1"}) == (1, 4)
    assert change(one, {**two, "d": "2"}) == (1, 4)
    assert change(one, {"e": "1", "f": "1"}) == (4, 6)
    assert change() == (4, 4)
    assert retrain.Change(1, 80).words() == "1 of 80 training rows changed (1.25 %)"


def test_a_warm_start_goes_on_from_the_model_that_stands(world, store):
    first = trained(world, store, warm=True)
    assert "parent" not in first.params
    assert trained(world, store, warm=True) == first  # and not from itself
    others(world)
    second = trained(world, store, warm=True)
    assert second.params == {**first.params, "parent": first.key}
    assert trained(world, store, warm=True) == second
    assert retrain.parent(second.params) == first.key and retrain.parent(first.params) is None
    cold = trained(world, store, recrawl=None)
    ends = [load(store.read(one.shards[0].name))["decode.classes.weight"] for one in (first, second, cold)]
    assert not torch.equal(ends[1], ends[2])


def test_nothing_begins_with_a_model_that_learned_from_forgotten_rows(world, store):
    first = trained(world, store, warm=True)
    others(world)
    warm = trained(world, store, warm=True)
    order = Order(0, "", "me", "", {}, models=[first.key, warm.key])
    tombstones.end(store, tombstones.add(store, order), {})
    step = planned(world, store, warm=True)
    assert step.state == "make" and "the model before learned from forgotten rows" in step.why
    fresh = trained(world, store, recrawl=None, warm=True)
    assert fresh.key not in (first.key, warm.key) and retrain.parent(fresh.params) is None
    refs_now, _ = refs.get(store, "builds/changing")
    assert refs_now["steps"][TRAIN] == fresh.key == trained(world, store, recrawl=None, warm=True).key  # that stands
    refs.update(store, "builds/changing", lambda value: {**value, "steps": {**value["steps"], TRAIN: warm.key}})
    kept = trained(world, store, recrawl=None, warm=True, retrain="never")
    assert kept.key == warm.key  # whose release is refused
    with pytest.raises(GateError, match=r"vae learned from rows that were forgotten"):
        release.untainted(
            {TRAIN: kept, "synthesize vae": replace(kept, stage="synthesize")}, tombstones.load(store).models
        )


def test_a_killed_warm_start_ends_with_the_same_bits(world, store):
    trained(world, store, warm=True)
    before, _ = refs.get(store, "builds/changing")
    others(world)
    model = trained(world, store, warm=True)
    data = store.read(model.shards[0].name)
    for left in (1, 0):  # checkpoints: it is killed late, and before the first
        refs.update(store, "builds/changing", lambda value: {**value, "steps": before["steps"]})
        kept = Checkpoints(store, model.key)
        for place in kept.places("safetensors")[left:]:
            kept.remove(place)
        store.delete(model.shards[0].name)
        store.delete(f"stages/train/{model.key}.json")
        assert trained(world, store, recrawl=None, warm=True).key == model.key
        assert store.read(model.shards[0].name) == data


def test_a_sweep_leaves_what_a_warm_start_begins_with(world, store):
    first = trained(world, store, warm=True)
    gc.sweep(store, 0)
    assert len(Checkpoints(store, first.key).places("safetensors")) == 1
    others(world)
    assert retrain.parent(trained(world, store, warm=True).params) == first.key


def test_a_warm_start_without_what_it_begins_with_is_one_sentence(world, store):
    first = trained(world, store, warm=True)
    for place in Checkpoints(store, first.key).places("safetensors"):
        Checkpoints(store, first.key).remove(place)
    others(world)
    with pytest.raises(DsrayError, match=r"begins with the checkpoint of the last step of model .*, which is gone"):
        trained(world, store, warm=True)


@pytest.mark.parametrize("family", ["merf", "dpgan"])
def test_a_private_model_begins_from_nothing(world, family):
    with pytest.raises(RecipeError, match="its budget counts one training"):
        synthesize.check(recipe(world, family, warm=True))


def test_a_release_says_what_its_models_learned_from(world, store):
    first = trained(world, store, retrain="never")
    others(world)
    made = build.run(recipe(world, retrain="never"), store, Silent(), recrawl="all", until=TRAIN).made
    said = retrain.told(first, made, store)
    assert said["model"] == first.key and 0 < said["other_rows"] <= said["of_rows"]
    (words,) = retrain.words("vae", said)
    assert words.startswith("vae learned from the rows of an earlier build: ")
    own = build.run(recipe(world), store, Silent(), until=TRAIN).made
    assert retrain.words("vae", retrain.told(own[TRAIN], own, store)) == []
    assert "began with the networks of model abc" in retrain.words("vae", {"other_rows": 0, "warm_from": "abc"})[0]


@pytest.mark.parametrize("said", ["sometimes", {"changed": 0}, {"changed": 1.5}, {"changes": 0.1}])
def test_a_policy_that_is_none_is_refused(world, said):
    with pytest.raises(RecipeError, match="retrain"):
        recipe(world, retrain=said)
