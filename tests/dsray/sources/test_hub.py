"""dsray.sources.hub: real Hugging Face datasets on disk."""

import io
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dsray.collection import Hub
from dsray.errors import SourceError
from dsray.sources import hub
from dsray.sources.rows import table
from rows import drawing, png

TEXTS = {"caption": "caption", "class_name": "label"}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """The package's own cache stays out of the home folder."""
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True, raising=False)


def data(images: list[bytes | None]):
    import datasets

    label = datasets.ClassLabel(names=["cat", "dog"])
    features = datasets.Features({"image": datasets.Image(), "caption": datasets.Value("string"), "label": label})
    cells = {
        "image": [image and {"bytes": image, "path": None} for image in images],
        "caption": [f"c{n}" for n in range(len(images))],
        "label": [n % 2 for n in range(len(images))],
    }
    return datasets.Dataset.from_dict(cells, features=features)


def rows_of(path: Path, **more) -> list[dict]:
    config = Hub(path=str(path), media="image", texts=TEXTS, **more)
    found = [row for piece in hub.pieces(config) for row in hub.rows(piece, "s", config)]
    assert table(found, config.texts).num_rows == len(found) == len({row["id"] for row in found})
    return found


IMAGES = [png(drawing(n)) for n in range(5)]


def test_a_dataset_that_was_saved(tmp_path):
    data([*IMAGES, None, b"no image"]).save_to_disk(tmp_path / "d")
    found = rows_of(tmp_path / "d")
    assert [row.get("payload") for row in found] == [*IMAGES, None, b"no image"], "nothing is decoded"
    assert [row.get("class_name") for row in found[:3]] == ["cat", "dog", "cat"]
    assert found[1]["url"] == f"file://{tmp_path}/d#train/row=1" and found[1]["fetched_at"] is None
    assert found[5]["error"] == "invalid"


def test_splits_of_a_saved_dictionary(tmp_path):
    import datasets

    datasets.DatasetDict({"train": data(IMAGES[:2]), "test": data(IMAGES[2:])}).save_to_disk(tmp_path / "d")
    assert [row["payload"] for row in rows_of(tmp_path / "d", split="test")] == IMAGES[2:]
    with pytest.raises(SourceError, match="could not be loaded"):
        rows_of(tmp_path / "d", split="nope")


def test_a_folder_of_parquet_in_the_hubs_layout(tmp_path):
    (tmp_path / "data").mkdir()
    data(IMAGES).to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    found = rows_of(tmp_path)
    assert [row["payload"] for row in found] == IMAGES
    assert [row["class_name"] for row in found] == ["cat", "dog", "cat", "dog", "cat"]


def test_a_folder_of_images_and_its_files_only(tmp_path):
    folder = tmp_path / "d" / "train" / "cat"
    folder.mkdir(parents=True)
    for n, image in enumerate(IMAGES):
        (folder / f"{n}.png").write_bytes(image)
    config = Hub(path=str(tmp_path / "d"), media="image")
    (piece,) = hub.pieces(config)
    assert sorted(row["payload"] for row in hub.rows(piece, "s", config)) == sorted(IMAGES)
    (tmp_path / "secret").write_bytes(b"secret")
    assert hub._bytes(config, {"bytes": None, "path": str(tmp_path / "d/../secret")}) is None


def test_pieces_are_runs_of_rows_and_change_with_the_files(tmp_path, monkeypatch):
    data(IMAGES).save_to_disk(tmp_path / "d")
    monkeypatch.setattr(hub, "PIECE_ROWS", 2)
    config = Hub(path=str(tmp_path / "d"), media="image")
    before = hub.pieces(config)
    assert [(piece.what["first"], piece.what["last"]) for piece in before] == [(0, 2), (2, 4), (4, 5)]
    assert hub.pieces(config) == before
    data(IMAGES[::-1]).save_to_disk(tmp_path / "d")
    assert not {piece.fingerprint for piece in before} & {piece.fingerprint for piece in hub.pieces(config)}


def test_what_is_not_there_is_told(tmp_path, monkeypatch):
    data(IMAGES).save_to_disk(tmp_path / "d")
    with pytest.raises(SourceError, match=r"has no column nope\. It has image, caption, label"):
        hub.pieces(Hub(path=str(tmp_path / "d"), media="nope"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "x.parquet").write_bytes(b"no parquet")
    with pytest.raises(SourceError, match="could not be loaded"):
        hub.pieces(Hub(path=str(tmp_path / "empty"), media="image"))
    monkeypatch.setitem(sys.modules, "datasets", None)
    (tmp_path / "empty" / "y").touch()
    with pytest.raises(SourceError, match=r"pip install 'dsray\[hub\]'"):
        hub.pieces(Hub(path=str(tmp_path / "empty"), media="image"))


def test_an_address_on_the_hub():
    assert hub.address(Hub(path="user/name", name="small", media="x"), "abc") == "hf://datasets/user/name@abc/small"


def test_a_revision_is_the_commit_that_it_is_now(monkeypatch):
    """The hub itself is not asked here."""
    asked = []

    class Info:
        sha = "c0ffee"

    def dataset_info(self, name, revision=None):
        asked.append((name, revision))
        return Info

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", dataset_info)
    assert hub._stamp(Hub(path="user/name", revision="main", media="x")) == "c0ffee"
    assert asked == [("user/name", "main")]


def test_arrays_are_no_payload(tmp_path):
    pq.write_table(
        pa.table({"image": [np.zeros(3).tolist()], "caption": ["a"], "label": ["b"]}), tmp_path / "a.parquet"
    )
    (row,) = rows_of(tmp_path)
    assert row["error"] == "invalid"
    assert Image.open(io.BytesIO(IMAGES[0])).size == (28, 28)
