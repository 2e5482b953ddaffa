"""The release opens with the libraries that people have."""

import io
import json
import shutil

import duckdb
import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

import dsray as api
from dsray import build
from dsray import recipe as recipes
from dsray.dataset import find
from dsray.errors import GateError, RecipeError
from dsray.lake import manifests, shards
from dsray.lake.shards import Receipt
from dsray.stages import evaluate, synthesize, train
from dsray.stages.samples import counts
from rows import drawing, png, sample_rows
from runs import Silent, dsray, lake


@pytest.fixture(scope="module")
def release(built, tmp_path_factory):
    """The release as plain files, by `dsray export`."""
    folder, _, _ = built
    target = tmp_path_factory.mktemp("export")
    done = dsray("export", "digits@v1", target / "digits", "--lake", f"file://{folder}", cwd=target)
    assert done.returncode == 0, done.stderr
    return target / "digits"


def test_pandas(release, built):
    frame = pd.read_parquet(release / "train")
    assert {"id", "image", "label", "origin", "caption", "url"} <= set(frame.columns)
    image = Image.open(io.BytesIO(frame["image"].iloc[0]["bytes"]))
    assert image.size == (28, 28) and image.mode == "L"
    assert frame["origin"].value_counts()["real"] == frame["origin"].value_counts()["augmented"]
    real = frame[frame["origin"] == "real"]
    assert (real["label"].astype(str) == real["caption"].str.extract(r"digit (\d)")[0]).all()
    assert set(frame[frame["origin"] == "augmented"]["parent"]) == set(real["id"])


def test_pyarrow(release, built):
    data = ds.dataset(release / "train", format="parquet")
    assert data.count_rows() == sum(pq.read_metadata(path).num_rows for path in (release / "train").glob("*.parquet"))
    assert data.count_rows(filter=ds.field("origin") == "real") == built[2].made["release"].counts["kept"] - sum(
        data.count_rows(filter=ds.field("origin") == "augmented")
        + sum(pq.read_metadata(p).num_rows for s in ("validation", "test") for p in (release / s).glob("*.parquet"))
        for _ in (0,)
    )


def test_duckdb(release):
    rows = duckdb.sql(
        f"select origin, count(*) n, min(octet_length(image.bytes)) b from '{release}/*/*.parquet' group by 1"
    ).fetchall()
    assert {origin for origin, _, _ in rows} == {"real", "augmented"}
    assert all(size > 0 for *_, size in rows)


def test_hugging_face(release, tmp_path):
    import datasets

    files = {split: f"{release}/{split}/*.parquet" for split in ("train", "validation", "test")}
    data = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path))
    row = data["test"][0]
    assert isinstance(row["image"], Image.Image) and row["image"].size == (28, 28)
    assert data["test"].features["label"].names == [str(digit) for digit in range(10)]


def test_the_card_is_what_the_hub_reads(release, tmp_path):
    import datasets

    _, front, text = (release / "README.md").read_text().split("---\n", 2)
    card = yaml.safe_load(front)
    assert {config["split"] for config in card["configs"][0]["data_files"]} == {"train", "validation", "test"}
    assert "low_information" in text
    data = datasets.load_dataset(str(release), cache_dir=str(tmp_path))
    assert data["train"].num_rows == {s["name"]: s["num_examples"] for s in card["dataset_info"]["splits"]}["train"]


def test_the_report_is_one_file(release):
    page = (release / "report.html").read_text()
    assert "data:image/png;base64," in page
    assert "<script" not in page and 'src="http' not in page


def test_load_gives_what_each_library_wants(built, release):
    folder, _, _ = built
    data = api.load("digits@v1", split="train", lake=f"file://{folder}")
    frame = data.pandas()
    assert len(frame) == pq.ParquetDataset(release / "train").read(columns=["id"]).num_rows
    images, labels = data.torch()[:]
    assert tuple(images.shape) == (len(frame), 1, 28, 28) and int(labels.max()) == 9
    assert np.array_equal(np.sort(labels.numpy()), np.sort(frame["label"].to_numpy()))
    assert data.hf()[0]["image"].size == (28, 28)
    assert data.ray().count() == len(frame)
    only = api.load("digits", split="train", lake=f"file://{folder}", origins=["real"]).pandas()
    assert set(only["origin"]) == {"real"}


def test_show_says_what_is_there_and_a_wrong_name_what_is_not(built, tmp_path):
    folder, _, _ = built
    url = f"file://{folder}"
    shown = dsray("show", "digits", "--lake", url, cwd=tmp_path)
    assert shown.returncode == 0 and "train" in shown.stdout and "low_information" in shown.stdout
    wrong = dsray("show", "digits@v9", "--lake", url, cwd=tmp_path)
    assert wrong.returncode == 1
    assert wrong.stderr.strip() == f"dsray: There is no digits@v9 on {url}. Known: v1."


def test_every_shard_is_what_the_manifest_says(built, release):
    with lake(built[0]) as store:
        version = api.dataset.find(store, "digits@v1")
        for receipt in version.shards():
            data = (release / receipt.name.removeprefix(version.prefix)).read_bytes()
            assert api.keys.digest(data) == receipt.digest
            features = json.loads(pq.read_schema(io.BytesIO(data)).metadata[b"huggingface"])["info"]["features"]
            assert features["image"] == {"_type": "Image"}


def test_the_manifests_recipe_is_the_recipe(built):
    with lake(built[0]) as store:
        said = find(store, "digits@v1").manifest
    assert recipes.of(said["recipe"]) == built[1] and said["format"] == 1


USEFULNESS = {"real": [0.9], "synthetic": [0.45], "both": [0.9], "n": 40, "extractor": "a network", "rows_real": 300,
              "rows_synthetic": 20, "mean": {"real": 0.9, "synthetic": 0.45, "both": 0.9}, "std": {"synthetic": 0.0},
              "ratio": 0.5, "per_class": {name: [0.5] * 10 for name in ("real", "synthetic", "both")}}  # fmt: skip
DISTANCE = {"distance": 2.0, "floor": 1.5, "ratio": 1.33, "excess": 0.01, "n": 40, "extractor": "a network"}
COPIES = {"share": 0.0, "threshold": 0.4, "n": 20, "held_out_share": 0.0, "control_planted": 5, "control_detected": 5,
          "trusted": True}  # fmt: skip


@pytest.fixture
def scored(built, recipe_text, tmp_path):
    """(lake's folder, recipe) of a build whose model exists and was found to be of little use."""
    folder = tmp_path / "lake"
    shutil.copytree(built[0], folder)
    text = recipe_text.replace("release:", "synthesize: {vae: {preset: tiny, rows: 20}}\nrelease:")
    recipe = recipes.parse(text)
    made = dict(built[2].made)
    rows = sample_rows([png(drawing(seed)) for seed in range(20)], [str(seed % 10) for seed in range(20)])
    rows = rows.add_column(rows.num_columns - 1, "caption", [[None] * 20])
    with lake(folder) as store:
        model = Receipt("models/x/model.safetensors", "d", 0, 1, {})
        details = {
            "curve": [],
            "grids": [],
            "private": {"epsilon": 8.0, "delta": 1e-5, "sigma": 0.6, "accountant": "exact"},
        }
        made["train vae"] = train.step(recipe, made, "vae").manifest([model], {}, details)
        drawn = shards.write(store, "shards/synthesize/x.parquet", rows, counts(rows))
        made["synthesize vae"] = synthesize.step(recipe, made, "vae").manifest(
            [drawn], {"in": 20, "kept": 20, "quarantined": 0}
        )
        scores = {"vae": {"usefulness": USEFULNESS, "distance": DISTANCE, "copies": COPIES}}
        made["evaluate"] = evaluate.step(recipe, made).manifest([], {}, {"scores": scores, "seen": {}})
        for name in ("train vae", "synthesize vae", "evaluate"):
            manifests.publish(store, made[name])
    return folder, text


def test_a_release_is_refused_with_its_number_and_accepted_with_a_reason_that_stays(scored):
    folder, text = scored
    recipe, reason = recipes.parse(text), "the model is for a smoke test"
    with lake(folder) as store:
        with pytest.raises(GateError, match=r"vae: usefulness is 0\.500, the limit is min 0\.85"):
            build.run(recipe, store, Silent())
        with pytest.raises(RecipeError, match="--accept needs a reason"):
            build.run(recipe, store, Silent(), accept=" ")
        first = build.run(recipe, store, Silent(), accept=reason)
        prefix = first.made["release"].details["prefix"]
        said = json.loads(store.read(f"{prefix}manifest.json"))
        assert said["accepted"]["reason"] == reason
        assert [(g["gate"], g["value"], g["limit"]) for g in said["accepted"]["gates"]] == [
            ("usefulness", 0.5, "min 0.85")
        ]
        assert said["private"]["vae"]["epsilon"] == 8.0 and said["private"]["vae"]["not_covered"]
        for name in ("README.md", "report.html"):
            document = store.read(prefix + name).decode()
            assert reason in document and "usefulness" in document and "min 0.85" in document and "exact" in document
        assert build.run(recipe, store, Silent(), accept=reason).up_to_date
        with pytest.raises(GateError):  # a reason holds for the run that gives it
            build.run(recipe, store, Silent())
        easy = recipes.parse(text.replace("release:", "evaluate: {gates: {usefulness: {min: 0.4}}}\nrelease:"))
        plain = build.run(easy, store, Silent()).made["release"]
        assert plain.details["version"] == first.made["release"].details["version"] + 1
        assert "accepted" not in json.loads(store.read(f"{plain.details['prefix']}manifest.json"))
        again = build.run(easy, store, Silent(), accept=reason)
        assert again.up_to_date and again.made["release"].key == plain.key


def test_a_release_as_png_files(built, tmp_path):
    url = f"file://{built[0]}"
    done = dsray("export", "digits@v1", tmp_path / "out", "--format", "png", "--lake", url, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = pd.read_csv(tmp_path / "out/train/metadata.csv")
    assert set(rows["origin"]) == {"real", "augmented"} and (tmp_path / "out/grids/real.png").exists()
    one = rows.iloc[0]
    assert one["file_name"] == f"{one['label']}/{one['id']}.png"
    with Image.open(tmp_path / "out/train" / one["file_name"]) as image:
        assert image.size == (28, 28)
