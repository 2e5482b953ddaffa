"""The release opens with the libraries that people have."""

import io
import json

import duckdb
import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

import dsray as api
from runs import dsray, lake


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
