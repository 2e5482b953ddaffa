"""synthesize: rows that can be made again from model, seed and index, whatever else is asked of them."""

import json
from contextlib import nullcontext

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from safetensors.torch import load, save

from dsray import models, recipe
from dsray.engine import tasks
from dsray.errors import RecipeError
from dsray.kinds import image
from dsray.lake import shards
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt
from dsray.metrics import classifier
from dsray.metrics.copies import ratios
from dsray.metrics.neighbours import flat
from dsray.models import draw, gan, loop
from dsray.models.configs import ARCHITECTURES, JUDGES
from dsray.models.rejection import realness
from dsray.stages import synthesize, train, trainset
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
def lenient(monkeypatch):
    """A classifier that knows little, and finds some of its classes in what a GAN draws that has hardly learnt."""
    monkeypatch.setattr(classifier, "STEPS", 40)
    monkeypatch.setattr(synthesize, "judge_seed", lambda seed: seed)


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


def test_the_classifier_keeps_what_it_takes_for_its_class_and_is_least_sure_of(sampled, store, made, weights, lenient):
    """Against the definition, on all candidates at once."""
    wanted = {"a": 20, "c": 10}
    manifest, table = sampled(classes=wanted, reject={"classifier": 0.5})
    index_N = np.arange(960)
    class_N = np.tile([CLASSES.index(label) for label in table["label"].to_pylist()], 32)
    images, labels = trainset.arrays(store, made["gather"].shards, "image", 2**30)
    judge = classifier.fit(images, np.array([CLASSES.index(label) for label in labels]), 3, BASE["seed"])
    doubt_N = classifier.doubt(
        judge, draw.sample(gan, gan.Config(**NUMBERS), weights, class_N, index_N, 5, "cpu"), class_N
    )
    denied = drawn = 0
    for label, rows in wanted.items():
        mine = index_N[class_N == CLASSES.index(label)]
        contest = mine[doubt_N[mine] > -np.inf][: 2 * rows]
        unsure = contest[np.argsort(-doubt_N[contest], kind="stable")[: rows // 2]]
        best = np.sort([*unsure, *[one for one in contest if one not in unsure][: rows // 2]])
        assert table.filter(pc.equal(table["label"], label))["index"].to_pylist() == best.tolist()
        tried = mine[mine <= contest[-1]]
        drawn, denied = drawn + len(tried), denied + int(np.isneginf(doubt_N[tried]).sum())
    assert denied
    assert manifest.details == {"candidates": drawn, "near": 0, "denied": denied, "sure": 30}
    assert manifest.inputs[1:] == [receipt.digest for receipt in made["gather"].shards]


def test_only_labelled_rows_teach_the_classifier(sampled, store, made, monkeypatch):
    """Where models take rows without a label for the first class."""
    monkeypatch.setattr(classifier, "STEPS", 40)
    media = [png(drawing(seed, 12)) for seed in range(30)]
    judges = []
    for labels in ([CLASSES[seed % 3] if seed < 24 else None for seed in range(30)], None):
        rows = sample_rows(media if labels else media[:24], labels or [CLASSES[seed % 3] for seed in range(24)])
        real = shards.write(store, f"shards/gather/{len(rows)}.parquet", rows)
        params = {"classes": CLASSES, "seed": 5, "kind": "image"}
        judges.append(
            synthesize.taught(synthesize.Sampling(store, "", made["train gan"].shards[0], [real], params, 0, 1))
        )
    assert judges[0] == judges[1]


@pytest.mark.parametrize(("rows", "drawn", "said"), [
    ({"a": {"train": 9}}, {}, "training rows of two classes are needed, not of 1"),
    ({"a": {"train": 9}, "b": {"test": 3}, "c": {"train": 1}}, {}, "no training row is of 'b'"),
    ({"a": {"train": 9}, "b": {"test": 3}, "c": {"train": 1}}, {"a": 1, "b": 0}, None),
])  # fmt: skip
def test_a_classifier_that_cannot_know_its_classes_is_told_before_anything_is_trained(rows, drawn, said):
    said_of_gan = {"reject": {"classifier": 0.5}, "classes": drawn}
    asked = recipe.model().model_validate({**BASE, "synthesize": {"gan": said_of_gan}}).synthesize["gan"]
    made = {"select": Manifest("select", 1, "", {}, [], [], {}, {"classes": rows})}
    with pytest.raises(RecipeError, match=said) if said else nullcontext():
        train.told_before_training("gan", asked, made)


def test_a_classifier_learns_once_and_not_again_where_all_shards_stand(sampled, lenient, monkeypatch):
    monkeypatch.setattr(synthesize, "SHARD_ROWS", 64)
    learned = []
    fit = classifier.fit
    monkeypatch.setattr(classifier, "fit", lambda *said: learned.append(1) or fit(*said))
    said = {"classes": {"a": 60, "c": 40}, "reject": {"classifier": 0.5, "neighbours": 0.01}}
    first = sampled(**said)
    assert [receipt.rows for receipt in first[0].shards] == [64, 36] and len(learned) == 1
    again = sampled(**said)
    assert again == first and len(learned) == 1


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
    ("merf", {"neighbours": 0.5}, "neighbours: merf is private"),
    ("dpgan", {"classifier": 0.5}, "classifier: dpgan is private"),
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
