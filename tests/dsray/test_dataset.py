"""dsray.dataset: what loaders make of a release's bytes."""

import json

import numpy as np
import pyarrow as pa
import pytest
import torch

from dsray import keys
from dsray.dataset import Dataset, Version, export, find, version
from dsray.errors import DsrayError, LakeError
from dsray.lake import shards
from dsray.lake.store import Missing, Store
from dsray.stages import release, versions
from dsray.stages.moments import merged, moments
from faulty import Faulty
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


def kept(store: Store, number: int, **said) -> None:
    manifest = {"dataset": "d", "version": number, "shards": [], **said}
    store.create(f"releases/d/v{number}/manifest.json", json.dumps(manifest).encode())
    versions.publish(store, "d", number, f"key {number}")


def test_a_name_is_the_newest_a_number_or_a_tag(store):
    for number in (1, 2):
        kept(store, number)
    versions.tag(store, "d", "gold", 1)
    assert [find(store, name).number for name in ("d", "d@v1", "d@2", "d@gold")] == [2, 1, 2, 1]
    versions.withdraw(store, "d", 1, "wrong")
    with pytest.raises(DsrayError, match="withdrawn"):
        find(store, "d@v1")
    assert version(store, "d", 1).number == 1


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({"format": versions.FORMAT + 1}, "was written by a newer dsray"),
        ({"version": 7}, "is of d@v7"),
        ({"dataset": "letters"}, "is of letters@v1"),
        ({"format": "x"}, "is not a release's manifest"),
    ],
)
def test_a_manifest_that_is_not_the_versions_own_is_refused(store, said, wrong):
    kept(store, 1, **said)
    with pytest.raises(LakeError, match=rf"releases/d/v1/manifest\.json {wrong}"):
        find(store, "d")


def test_an_export_is_whole_or_an_error(store, tmp_path):
    data = dataset(store, {})
    (receipt,) = data.version.shards()
    (written,) = export(data.version, tmp_path)
    assert keys.digest(written.read_bytes()) == receipt.digest
    store.delete(receipt.name)
    with pytest.raises(Missing, match=f"{receipt.name} is gone"):
        export(data.version, tmp_path / "again")


def many(store: Store, count: int) -> Dataset:
    """A release of `count` shards; each row says which one."""
    names = [f"releases/d/v1/train/real-{number:05d}-of-{count:05d}.parquet" for number in range(count)]
    receipts = [shards.write(store, name, pa.table({"shard": [n] * 3})) for n, name in enumerate(names)]
    return Dataset(Version("d", 1, store, {"shards": [receipt.__dict__ for receipt in receipts]}), None)


def test_tables_and_arrow_have_the_shards_in_their_order(store):
    data = many(store, 7)
    assert [table["shard"][0].as_py() for table in data.tables()] == [*range(7)]
    assert data.arrow()["shard"].to_pylist() == [n for n in range(7) for _ in range(3)]


def test_an_export_goes_on_where_one_broke_off(store, tmp_path):
    seen = Faulty(store)
    data = many(seen, 3)
    written = export(data.version, tmp_path)
    assert seen.done.count("read") == 3
    written[1].write_bytes(b"half")
    written[2].unlink()
    assert export(data.version, tmp_path) == written
    assert seen.done.count("read") == 5
    assert [keys.digest(path.read_bytes()) for path in written] == [one.digest for one in data.version.shards()]
