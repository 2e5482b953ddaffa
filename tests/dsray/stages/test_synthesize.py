"""synthesize: rows that can be made again from model, seed and index, whatever else is asked of them."""

import json

import numpy as np
import pyarrow as pa
import pytest
from safetensors.torch import load, save

from dsray import models, recipe
from dsray.engine import tasks
from dsray.errors import RecipeError
from dsray.kinds import image
from dsray.lake import shards
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt
from dsray.metrics.copies import ratios
from dsray.metrics.neighbours import flat
from dsray.models import draw, gan, loop
from dsray.models.configs import ARCHITECTURES, JUDGES
from dsray.models.rejection import realness
from dsray.stages import synthesize
from dsray.stages.step import Progress, Work, balance
from rows import drawing, png, sample_rows

CLASSES = ["a", "b", "c"]
NUMBERS = {"images": 64, "batch": 32, "latent": 6, "width": 8, "embedding": 4}
BASE = {"dataset": "d", "collect": {"s": {"files": {"path": "."}}}, "seed": 5}


@pytest.fixture(scope="module")
def weights():
    """Of a GAN that has hardly learnt."""
    images = np.stack([drawing(seed, 12) for seed in range(30)])[..., None]
    return loop.train(gan.start(gan.Config(**NUMBERS), images, np.arange(30) % 3, 3, 1, "cpu"))


@pytest.fixture
def made(store, weights):
    """A lake with the model and the real rows."""
    data = save(weights)
    model = Receipt("models/m/model.safetensors", store.create("models/m/model.safetensors", data), 0, len(data), {})
    table = sample_rows([png(drawing(seed, 12)) for seed in range(30)], [CLASSES[seed % 3] for seed in range(30)])
    real = shards.write(store, "shards/gather/0.parquet", table)
    params = {"architecture": "gan", "config": NUMBERS, "classes": CLASSES}
    return {
        "train gan": Manifest("train", 1, "", params, [], [model], {}),
        "gather": Manifest("gather", 1, "", {}, [], [real], balance(30)),
    }


@pytest.fixture
def sampled(store, made, monkeypatch):
    """What the stage makes, a task after the other in this process."""
    monkeypatch.setattr("dsray.engine.connect.gpus", lambda: 0)
    monkeypatch.setattr(tasks, "map_all", lambda fn, items, ended, gpus: list(map(fn, items)))

    def run(**said) -> tuple[Manifest, pa.Table]:
        asked = recipe.model().model_validate({**BASE, "synthesize": {"gan": said}})
        step = synthesize.step(asked, made, "gan")
        manifest = synthesize.run(step, made, Work(asked, store, Progress(lambda *_: None)))
        return manifest, pa.concat_tables(shards.read(store, receipt) for receipt in manifest.shards)

    return run


def pictures(table):
    return image.to_arrays([media["bytes"] for media in table["media"].to_pylist()])


def again(weights, table):
    """Each row made alone, from what the row says."""
    columns = [table[name].to_pylist() for name in ("label", "index", "seed", "transform")]
    return np.concatenate([
        draw.sample(gan, gan.Config(**NUMBERS), weights, np.array([CLASSES.index(label)]), np.array([index]), seed,
                    "cpu", **json.loads(how or "{}"))
        for label, index, seed, how in zip(*columns, strict=True)
    ])  # fmt: skip


@pytest.mark.parametrize("said", [
    {"rows": 40},
    {"classes": {"a": 9, "c": 30}, "truncation": 0.6},
    {"rows": 40, "truncation": 0.6, "reject": {"discriminator": 0.5, "neighbours": 0.5}},
], ids=str)  # fmt: skip
def test_a_row_says_all_that_makes_it_again(sampled, weights, said):
    _, table = sampled(**said)
    assert np.array_equal(pictures(table), again(weights, table))
    assert len(set(table["id"].to_pylist())) == len(set(table["index"].to_pylist())) == table.num_rows


def test_shards_are_independent(sampled, monkeypatch):
    """The first of several shards is that of a smaller request."""
    monkeypatch.setattr(synthesize, "SHARD_ROWS", 64)
    reject = {"discriminator": 0.5}
    manifest, table = sampled(rows=100, reject=reject)
    assert [receipt.rows for receipt in manifest.shards] == [64, 36]
    assert sampled(rows=64, reject=reject)[1].equals(table.slice(0, 64))
    assert manifest.details == {"candidates": 200, "near": 0, "unreal": 100}
    assert manifest.counts == balance(100)


def test_classes_get_the_rows_they_are_asked_for(sampled):
    manifest, table = sampled(classes={"c": 20, "a": 10})
    labels = table["label"].to_pylist()
    assert [labels.count(label) for label in CLASSES] == [10, 0, 20] and set(labels[:6]) == {"a", "c"}
    assert manifest.params["counts"] == [10, 0, 20]


def test_what_is_near_to_a_training_row_is_left_out(sampled, store, made):
    train = np.unique(flat(pictures(shards.read(store, made["gather"].shards[0]))), axis=0)
    limit = float(np.median(ratios(flat(pictures(sampled(rows=60)[1])), train)))
    manifest, table = sampled(rows=60, reject={"neighbours": limit})
    assert (ratios(flat(pictures(table)), train) >= limit).all()
    assert manifest.details["near"] > 10 and manifest.details["candidates"] == 60 + manifest.details["near"]
    assert manifest.inputs[1:] == [receipt.digest for receipt in made["gather"].shards]


def test_the_discriminator_finds_kept_rows_more_real(sampled, weights):
    judge = gan.judge(gan.Config(**NUMBERS), weights, "cpu")

    def mean(table):  # with the same luck for all
        labels = np.array([CLASSES.index(label) for label in table["label"].to_pylist()])
        return realness(judge, pictures(table), np.zeros(len(labels), np.int64), labels, 0, "cpu").mean()

    plain, kept = sampled(rows=300)[1], sampled(rows=300, reject={"discriminator": 0.1})[1]
    assert mean(kept) > mean(plain)


def test_options_that_say_nothing_leave_the_key(made):
    def key(**said):
        asked = recipe.model().model_validate({**BASE, "synthesize": {"gan": said}})
        return synthesize.step(asked, made, "gan").key

    assert key() == key(truncation=1, classes={}, reject={}) == key(workers=2)
    assert len({key(), key(truncation=0.5), key(rows=9), key(classes={"a": 9}), key(reject={"neighbours": 0.5})}) == 5


def test_a_label_that_is_not_there_is_told(made):
    asked = recipe.model().model_validate({**BASE, "synthesize": {"gan": {"classes": {"z": 9}}}})
    with pytest.raises(RecipeError, match=r"synthesize.gan.classes: there is no label 'z'. Known: a, b, c."):
        synthesize.step(asked, made, "gan")


@pytest.mark.parametrize(("family", "reject", "said"), [
    ("vae", {"discriminator": 0.5}, "vae keeps no discriminator"),
    ("merf", {"neighbours": 0.5}, "merf is private"),
])  # fmt: skip
def test_what_a_model_cannot_do_is_told_before_it_is_trained(family, reject, said):
    asked = recipe.model().model_validate({**BASE, "synthesize": {family: {"reject": reject}}})
    with pytest.raises(RecipeError, match=said):
        synthesize.check(asked)


def test_whoever_keeps_a_discriminator_can_judge():
    names = ARCHITECTURES.values()
    assert {name for name in names if hasattr(models.architecture(name), "judge")} == JUDGES


def test_a_process_loads_a_model_once(sampled, store, monkeypatch):
    reads = []
    monkeypatch.setattr(synthesize, "SHARD_ROWS", 64)
    monkeypatch.setattr("safetensors.torch.load", lambda data: reads.append(1) or load(data))
    sampled(rows=150)
    assert len(reads) == 1
