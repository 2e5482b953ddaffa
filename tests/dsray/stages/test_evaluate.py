"""evaluate: every score that a recipe asks for, of every model, from what lies on the lake; in one process."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from dsray import models
from dsray import recipe as recipes
from dsray.engine import connect, tasks
from dsray.errors import DsrayError
from dsray.lake import shards
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt
from dsray.metrics import classifier, inception_weights, kid, membership, sliced
from dsray.models import draw
from dsray.report import scores as words
from dsray.stages import evaluate, trials
from dsray.stages.checkpoints import packed
from dsray.stages.gates import numbers
from dsray.stages.samples import counts
from dsray.stages.step import Progress, Work
from dsray.stages.train import _array
from rows import drawing, png, sample_rows

CLASSES = ["a", "b"]
ROWS, TEST, MADE = 96, 32, 40


def picture(row: int) -> np.ndarray:
    """Class a is dark on the left, class b on the right."""
    pixels = drawing(row).copy()
    pixels[:, 14 * (row % 2) : 14 * (row % 2) + 14] //= 6
    return pixels


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """(store, manifests, evaluate's step, its manifest) of a GAN that learned nothing, and of one that copies."""
    from dsray.lake.store import open_store

    patch = pytest.MonkeyPatch()
    for module, name, value in ((classifier, "STEPS", 4), (kid, "SUBSETS", 4), (sliced, "DIRECTIONS", 16),
                                (membership, "_BOOTSTRAPS", 10)):  # fmt: skip
        patch.setattr(module, name, value)
    patch.setattr(connect, "gpus", lambda: 0)
    patch.setattr(tasks, "run_all", lambda fn, items, hear, gpus=0: [
        fn(one, lambda news, i=i: hear(i, news)) for i, one in enumerate(items)])  # fmt: skip
    store = open_store(f"file://{tmp_path_factory.mktemp('lake')}")
    made = built(store)
    recipe = wanted()
    step = evaluate.step(recipe, made)
    threads = torch.get_num_threads()
    heard: list[tuple[int, int | None]] = []
    manifest = evaluate.run(step, made, Work(recipe, store, Progress(lambda n, of, _: heard.append((n, of)))))
    torch.set_num_threads(threads)
    patch.undo()
    assert heard[-1][0] == heard[-1][1]
    return store, made, step, manifest


def wanted(text: str = ""):
    return recipes.parse(
        f"dataset: d\ncollect: {{f: {{files: {{path: x}}}}}}\nsynthesize: {{gan: {{}}, vae: {{}}}}\n{text}"
    )


def built(store) -> dict[str, Manifest]:
    """Real rows, an untrained GAN, and a `vae` whose rows are training rows."""
    pictures = [png(picture(row)) for row in range(ROWS)]
    labels = [CLASSES[row % 2] for row in range(ROWS)]
    splits = ["test" if row < TEST else "train" for row in range(ROWS)]
    real = sample_rows(pictures, labels, splits)
    made = {
        "gather": Manifest("gather", 1, "g", {}, [], [shards.write(store, "real.parquet", real, counts(real))]),
        "select": Manifest("select", 1, "s", {}, [], details={"classes": {name: {} for name in CLASSES}}),
    }
    architecture = models.architecture("gan")
    config = models.preset("gan", "tiny").config
    images = np.stack([picture(row) for row in range(TEST, ROWS)])[..., None]
    start = architecture.start(architecture.Config(**config), images, np.arange(len(images)) % 2, 2, 7, "cpu")
    weights = start.weights()
    model = Receipt("model", store.create("model", packed(weights)), 0, 1, {})
    store.create("early.npy", _array(np.random.default_rng(0).integers(0, 255, (20, 28, 28, 1), np.uint8)))
    store.create("late.npy", _array(images[:20]))
    params = {"architecture": "gan", "config": config}
    copied = sample_rows(pictures[TEST : TEST + MADE], labels[TEST : TEST + MADE])
    place = np.arange(MADE)
    drawn = draw.sample(architecture, architecture.Config(**config), weights, place % 2, place, 7, "cpu")
    tables = {
        "gan": sample_rows([png(one[..., 0]) for one in drawn], [CLASSES[row % 2] for row in place]),
        "vae": copied,
    }
    details = {"curve": [{"step": 1, "images": 64}, {"step": 2, "images": 128}],
               "samples": [{"step": 1, "name": "early.npy"}, {"step": 2, "name": "late.npy"}]}  # fmt: skip
    for name, table in tables.items():
        made[f"train {name}"] = Manifest("train", 1, name, params, [], [model], {}, details)
        receipt = shards.write(store, f"{name}.parquet", table, counts(table))
        made[f"synthesize {name}"] = Manifest("synthesize", 1, name, {"seed": 7}, [], [receipt])
    return made


def test_every_score_is_there_for_every_model_with_n_floor_and_extractor(evaluated):
    *_, manifest = evaluated
    found = json.loads(json.dumps(manifest.details["scores"]))
    assert found.keys() == {"gan", "vae"}
    for score in found.values():
        assert score.keys() == {"usefulness", "distance", "copies", *wanted().evaluate.scores}
        assert all(len(score["usefulness"][name]) == 3 for name in ("real", "synthetic", "both"))
        assert [len(by) for by in score["usefulness"]["per_class"].values()] == [2, 2, 2]
        lines = {line.gate: line for line in words.lines(score)}
        assert lines.keys() == numbers(score).keys()
        for line in lines.values():
            assert all((line.value, line.reference, line.meaning)), line
            assert "n = " in line.measured or "members" in line.measured
        # 16 of 64 training rows are kept from the network: as many are compared
        assert score["distance"]["n"] == score["kid"]["n"] == score["prdc"]["n"] == score["sliced"]["n"] == 16


def test_one_networks_features_serve_all_scores_and_the_floor_is_the_same_for_all_models(evaluated):
    *_, manifest = evaluated
    gan, vae = (manifest.details["scores"][name] for name in ("gan", "vae"))
    assert gan["distance"]["floor"] == vae["distance"]["floor"] and gan["kid"]["floor"] == vae["kid"]["floor"]
    assert gan["usefulness"]["real"] == vae["usefulness"]["real"]
    assert gan["distance"]["excess"] > vae["distance"]["excess"]


def test_a_model_that_copies_is_caught_and_shown(evaluated):
    store, _, _, manifest = evaluated
    gan, vae = (manifest.details["scores"][name]["copies"] for name in ("gan", "vae"))
    assert vae["share"] > 0.9 and vae["trusted"] and gan["share"] < 0.1
    nearest = manifest.details["seen"]["vae"]["nearest"]
    assert [pair["distance"] for pair in nearest["suspects"]] == [0.0] * trials.SUSPECTS
    sheet = np.asarray(Image.open(io.BytesIO(store.read(nearest["sheet"]))).convert("L"))
    half = sheet.shape[0] // 2 - 2  # without the gap
    assert (sheet[:half] == sheet[-half:]).all()  # each row lies over itself


def test_pictures_are_on_the_lake_and_in_the_manifest(evaluated):
    store, _, step, manifest = evaluated
    names = {receipt.name for receipt in manifest.shards}
    seen = manifest.details["seen"]
    assert names == {one for model in seen.values() for one in (model["walk"], model["nearest"]["sheet"])}
    assert all(name.startswith(f"evaluations/{step.key}/") and store.head(name) for name in names)


def test_checkpoints_are_measured_by_the_same_network(evaluated):
    *_, manifest = evaluated
    early, late = manifest.details["seen"]["gan"]["over_time"]
    assert (early["images"], late["images"]) == (64, 128)
    assert early["distance"] > late["distance"] and early["floor"] == late["floor"] and early["n"] == late["n"] == 16


def test_what_is_not_asked_is_not_measured_and_has_another_key(evaluated):
    _, made, step, _ = evaluated
    few = evaluate.step(wanted("evaluate: {scores: []}"), made)
    assert few.params["scores"] == [] and few.key != step.key
    work = Work(wanted(), evaluated[0], Progress(lambda *_: None))
    asked = [trial.score for trial in evaluate._trials(few, made, work)]
    assert set(asked) == {"copies", "walk", "features", "train_on_real", "train_on_synthetic", "train_on_both"}
    assert asked.count("features") == 3 and asked.count("train_on_real") == 3 and asked.count("train_on_both") == 6
    gates = wanted("evaluate: {scores: [memorisation], gates: {usefulness: {}, c_t: {min: -3}}}")
    assert evaluate.step(gates, made).params == few.params | {"scores": ["memorisation"]}


def test_fid_without_weights_is_refused_before_anything_is_trained(monkeypatch):
    monkeypatch.setattr(inception_weights, "installed", lambda: None)
    evaluate.check(wanted())
    with pytest.raises(DsrayError, match="needs Inception's weights"):
        evaluate.check(wanted("evaluate: {scores: [fid]}"))


def test_fid_reads_real_rows_once_for_all_models(evaluated, monkeypatch):
    from dsray.metrics import inception

    read = []

    def features(net, images, *_):
        read.append(len(images))
        return images.reshape(len(images), -1)[:, ::50].astype(np.float32)

    monkeypatch.setattr(inception_weights, "load", list)
    monkeypatch.setattr(inception, "loaded", lambda _: None)
    monkeypatch.setattr(inception, "features", features)
    store, made, *_ = evaluated
    recipe = wanted("evaluate: {scores: [fid]}")
    step = evaluate.step(recipe, made)
    trial = next(iter(evaluate._trials(step, made, Work(recipe, store, Progress(lambda *_: None)))))
    found = trials.fid(trial)
    assert len(read) == 4 and found.keys() == {"gan", "vae"}
    assert found["gan"]["fid"] > found["vae"]["fid"] and found["gan"]["floor"] == found["vae"]["floor"]
    assert found["gan"]["n"] == 32 and found["gan"]["resizer"] == "pil-bicubic"
