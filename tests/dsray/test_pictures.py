"""dsray.pictures: a release as folders of PNG files that other libraries read."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dsray.dataset import Version
from dsray.errors import DsrayError
from dsray.lake import shards
from dsray.pictures import export, folder_of
from dsray.stages import release
from rows import drawing, png, sample_rows

CLASSES = ["../etc", "a", "b"]
PARAMS = {"classes": CLASSES, "kind": "image", "texts": [], "columns": ["objects"], "form": {"values": "bytes"},
          "shape": [1, 28, 28]}  # fmt: skip


def jpeg(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()


@pytest.fixture
def version(store) -> Version:
    """Two splits, one of them with JPEGs, and an origin of its own."""
    receipts = []
    for split, origin, encode in (("test", "real", jpeg), ("train", "gan", png), ("train", "real", png)):
        labels, other = [*CLASSES, "a", None], 5 * (origin == "gan")
        rows = sample_rows([encode(drawing(seed)) for seed in range(10)], 2 * labels, [split] * 10).slice(other, 5)
        name = f"releases/d/v1/{split}/{origin}-00000-of-00001.parquet"
        receipts.append(shards.write(store, name, release.release_table(rows, PARAMS)).__dict__)
    return Version("d", 1, store, {"kind": "image", "classes": CLASSES, "shards": receipts})


def test_every_row_is_a_png_in_the_folder_of_its_split_and_label(version, tmp_path):
    files = export(version, tmp_path)
    tables = [f"{split}/metadata.csv" for split in ("train", "test")]
    rows = [row for table in tables for row in csv.DictReader((tmp_path / table).open())]
    paths = {f"{row['split']}/{row['file_name']}": row for row in rows}
    sheets = ["grids/real.png", "grids/gan.png"]
    assert {str(path.relative_to(tmp_path)) for path in files} == {*paths, *tables, *sheets}
    assert list(rows[0])[:4] == ["file_name", "split", "label", "origin"] and "tensor" not in rows[0]
    for path, row in paths.items():
        assert row["file_name"] == f"{folder_of(row['label'] or None)}/{row['id']}.png"
        assert (tmp_path / path).resolve().is_relative_to(tmp_path.resolve())
        with Image.open(tmp_path / path) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "L", (28, 28))
    place = sample_rows([b""] * 5, [None] * 5)["id"].to_pylist()
    one = next(row for row in rows if row["id"] == place[2] and row["split"] == "train")
    assert (
        np.array_equal(np.asarray(Image.open(tmp_path / "train" / one["file_name"])), drawing(2))
        and one["label"] == "b"
    )


def test_a_second_export_leaves_whole_files_alone_and_mends_others(version, tmp_path):
    files = export(version, tmp_path)
    whole, broken = files[0], files[1]
    before, data = whole.stat().st_mtime_ns, broken.read_bytes()
    broken.write_bytes(data[:9])
    assert export(version, tmp_path) == files
    assert whole.stat().st_mtime_ns == before and broken.read_bytes() == data


def test_hugging_face_reads_the_folder(version, tmp_path):
    import datasets

    export(version, tmp_path / "out")
    data = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in data.items()} == {"train": 10, "test": 5}
    assert {row["label"] for row in data["train"]} == {*CLASSES, None}
    assert data["train"][0]["image"].size == (28, 28)


@given(st.lists(st.text(max_size=200), unique=True, max_size=8))
def test_a_folder_is_one_name_and_no_two_labels_share_one(labels):
    names = [folder_of(label) for label in labels]
    assert len(set(names)) == len(labels)
    for name in names:
        assert name not in ("", ".", "..") and "/" not in name and "\0" not in name and len(name.encode()) < 200


def test_samples_that_are_no_images_are_refused_in_a_sentence(store, tmp_path):
    text = Version("d", 2, store, {"kind": "tally", "classes": [], "shards": []})
    with pytest.raises(DsrayError, match="d@v2 holds samples of the kind tally, which are no images"):
        export(text, tmp_path)
