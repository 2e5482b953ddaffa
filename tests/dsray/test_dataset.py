"""dsray.dataset: what loaders make of a release's bytes."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from dsray.dataset import Dataset, Version
from dsray.lake import shards
from dsray.lake.store import Store
from dsray.stages import release
from dsray.stages.moments import merged, moments
from rows import drawing, png, sample_rows

PICTURES = np.stack([drawing(seed) for seed in range(7)])


def dataset(store: Store, form: dict, columns=(), shape=None, **given) -> Dataset:
    """A release of seven pictures, without a build."""
    rows = sample_rows([png(one) for one in PICTURES], [*"abcabc", None], **given)
    params = {"classes": ["a", "b", "c"], "kind": "image", "texts": [], "columns": list(columns), "form": form,
              "shape": shape}  # fmt: skip
    name = "releases/d/v1/train/real-00000-of-00001.parquet"
    receipt = shards.write(store, name, release.release_table(rows, params))
    manifest = {"kind": "image", "classes": ["a", "b", "c"], "shards": [receipt.__dict__], **form}
    return Dataset(Version("d", 1, store, manifest), "train")


def pictures(data: Dataset) -> np.ndarray:
    """[N, 1, 28, 28] in the release's order."""
    place = sample_rows([b""] * 7, ["a"] * 7)["id"].to_pylist()
    return np.stack([PICTURES[place.index(one)] for one in data.arrow()["id"].to_pylist()])[:, None]


@pytest.mark.parametrize(
    ("form", "formula"),
    [
        ({}, lambda x: x),  # a release from before values were a choice
        ({"values": "bytes"}, lambda x: x),
        ({"values": "unit"}, lambda x: (x / 255).astype(np.float32)),
        ({"values": "signed"}, lambda x: (x / 127.5 - 1).astype(np.float32)),
        ({"values": "standard", "mean": [99.5], "std": [12.25]}, lambda x: ((x - 99.5) / 12.25).astype(np.float32)),
    ],
)
def test_torch_gives_the_values_that_the_release_says(store, form, formula):
    data = dataset(store, form)
    images, labels = data.torch().tensors
    expected = formula(pictures(data))
    assert np.array_equal(images.numpy(), expected) and images.numpy().dtype == expected.dtype
    assert sorted(labels.tolist()) == [-1, 0, 0, 1, 1, 2, 2]
    assert data.pandas()["image"][0]["bytes"].startswith(b"\x89PNG")


def test_values_are_for_anyones_arrays_and_column_loader_and_method_agree(store):
    rows = sample_rows([png(one) for one in PICTURES], ["a"] * 7)
    found = merged([moments(rows, kind_name="image")[0]])
    form = {"values": "standard", "mean": found["mean"], "std": found["std"]}
    data = dataset(store, form, shape=[1, 28, 28])
    column = np.array(data.arrow()["tensor"].to_pylist(), np.float32)
    method = data.values(np.moveaxis(pictures(data), 1, -1))
    assert np.array_equal(column, np.moveaxis(method, -1, 1))
    assert np.array_equal(column, data.torch().tensors[0].numpy())
    assert abs(float(column.mean())) < 1e-6 and float(column.std()) == pytest.approx(1, abs=1e-6)
    assert np.array_equal(np.array(data.hf()[2]["tensor"], np.float32), column[2])


def test_weights_are_drawn_by(store):
    weights = [0.0, 0.0, 5.0, 0.0, 0.0, 0.0, None]
    data = dataset(store, {"values": "bytes"}, columns=["weight"], weight=pa.array(weights))
    *_, found = data.torch(weights=True).tensors
    assert sorted(found.tolist()) == [0, 0, 0, 0, 0, 1, 5] and len(data.torch().tensors) == 2
    drawn = torch.utils.data.WeightedRandomSampler(found, 600, generator=torch.Generator().manual_seed(1))
    assert 0.75 < np.mean(np.array(list(drawn)) == int(found.argmax())) < 0.9


def test_without_weights_all_are_1(store):
    assert dataset(store, {"values": "bytes"}).torch(weights=True).tensors[2].tolist() == [1.0] * 7
