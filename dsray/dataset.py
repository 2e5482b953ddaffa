"""Reading a release: as pandas, torch, Hugging Face or Ray data."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dsray.errors import LakeError
from dsray.keys import digest
from dsray.lake import shards
from dsray.lake.session import opened
from dsray.lake.shards import Receipt
from dsray.lake.store import Missing, Store
from dsray.stages import versions
from dsray.stages.moments import channels_first, values

if TYPE_CHECKING:
    import datasets
    import pandas
    import ray.data
    import torch.utils.data
    from numpy.typing import NDArray

_FORM = ("values", "mean", "std")
"""What a release's manifest says of the numbers that loaders make."""


_AT_ONCE = 4
"""Shards that are read at once where all are wanted: a distant S3 gives each connection some 85 MB a second."""


@dataclass(frozen=True)
class Version:
    """One release of a dataset on a lake."""

    dataset: str
    number: int
    store: Store
    manifest: dict[str, Any]

    @property
    def prefix(self) -> str:
        return f"releases/{self.dataset}/v{self.number}/"

    def shards(self, split: str | None = None, origins: Sequence[str] | None = None) -> list[Receipt]:
        """The shards of a split (all without one), and of some origins (`real`, `augmented`, `gan`, ...)."""
        found = []
        for fields in self.manifest["shards"]:
            part, file = fields["name"].removeprefix(self.prefix).split("/")
            if split in (None, part) and (origins is None or file.split("-")[0] in origins):
                found.append(Receipt(**fields))
        return found


def find(store: Store, name: str) -> Version:
    """The version that `digits@v3`, `digits@tag`, or `digits` for the latest, names. Raises DsrayError when there is
    none, or it is withdrawn."""
    return version(store, *versions.resolve(store, name))


def version(store: Store, dataset: str, number: int) -> Version:
    """That version, withdrawn or not. Raises LakeError when its manifest is gone, damaged, or of a newer dsray."""
    found = f"releases/{dataset}/v{number}/manifest.json"
    try:
        manifest = json.loads(store.read(found))
        newer = manifest.get("format", 1) > versions.FORMAT
        told = manifest["dataset"], manifest["version"]
    except Missing:
        raise Missing(f"{store.url}/{found} is gone.", mend(store, dataset, number)) from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise LakeError(
            f"{store.url}/{found} is not a release's manifest.", mend(store, dataset, number, found)
        ) from None
    if newer:
        raise LakeError(
            f"{store.url}/{found} was written by a newer dsray (format {manifest['format']}).", "Update dsray."
        )
    if told != (dataset, number):
        raise LakeError(f"{store.url}/{found} is of {told[0]}@v{told[1]}.", mend(store, dataset, number, found))
    return Version(dataset, number, store, manifest)


def mend(store: Store, dataset: str, number: int, *damaged: str) -> str:
    """What makes a release's documents again: they, and the manifest that says that they are there, have to go. They
    alone hold the recipe, so nothing but its file can make them."""
    key = versions.published(store, dataset).get(number, {}).get("key", "")
    gone = [*damaged, f"stages/release/{key}.json"]
    return f"Delete {' and '.join(gone)} there and run its recipe again: the rest is kept."


@dataclass(frozen=True)
class Dataset:
    """A split of a release. Each method reads; nothing is read before."""

    version: Version
    split: str | None
    origins: Sequence[str] | None = None
    _lease: ExitStack = field(default_factory=ExitStack, repr=False)

    @property
    def classes(self) -> list[str]:
        """The names behind the numbers in the column `label`."""
        return list(self.version.manifest["classes"])

    def tables(self, ahead: int = 1) -> Iterator[pa.Table]:
        """The shards one after the other, each checked against its digest; `ahead` of them are read meanwhile."""
        return shards.each(self.version.store, self.version.shards(self.split, self.origins), ahead=ahead)

    def arrow(self) -> pa.Table:
        """All rows as one Arrow table."""
        return pa.concat_tables(self.tables(_AT_ONCE))

    def values(self, array: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        """Bytes [..., C] → the numbers that the release is to be read as (`release.values`), float32."""
        said = self.version.manifest
        return values(array, {"values": "bytes", **{name: said[name] for name in _FORM if name in said}})

    def pandas(self) -> "pandas.DataFrame":
        """All rows as a DataFrame; samples are dicts of `bytes` and `path`."""
        frame: pandas.DataFrame = self.arrow().to_pandas()
        return frame

    def hf(self) -> "datasets.Dataset":
        """A Hugging Face dataset; images decode on access. Needs the package `datasets`."""
        import datasets

        table = self.arrow()
        features = datasets.Features.from_dict(json.loads(table.schema.metadata[b"huggingface"])["info"]["features"])
        table = datasets.table.table_cast(table, features.arrow_schema)
        return datasets.Dataset(datasets.table.InMemoryTable(table), info=datasets.DatasetInfo(features=features))

    def torch(self, weights: bool = False) -> "torch.utils.data.TensorDataset":
        """(sample [C, H, W], class int64) pairs in memory; a row without a label has class -1, a mixed one the class of
        its first parent (the second and the share are in the column `mixed`).

        Samples are uint8, or float32 when the release says `values`. With `weights` a third number says how often a
        row should be drawn, for torch's WeightedRandomSampler; it is 1 where nothing is said.
        """
        import torch

        from dsray.kinds import kind

        table = self.arrow()
        of_kind = kind(self.version.manifest["kind"])
        arrays: NDArray[Any] = of_kind.to_arrays([media["bytes"] for media in table[of_kind.COLUMN].to_pylist()])
        if self.version.manifest.get("values", "bytes") != "bytes":
            arrays = self.values(arrays)
        columns = [channels_first(arrays), table["label"].fill_null(-1).to_numpy().copy()]
        if weights:
            said = table["weight"].fill_null(1.0).to_numpy().copy() if "weight" in table.column_names else None
            columns.append(np.ones(table.num_rows) if said is None else said)
        return torch.utils.data.TensorDataset(*map(torch.from_numpy, columns))

    def ray(self) -> "ray.data.Dataset":
        """A Ray dataset, one block a shard, read on the cluster."""
        from dsray.engine.read import read_shards

        return read_shards(self.version.store, self.version.shards(self.split, self.origins))


def load(name: str, split: str | None = None, lake: str | None = None, origins: Sequence[str] | None = None) -> Dataset:
    """The release that `name` names, on the lake at `lake`, else DSRAY_LAKE, else the embedded one of this folder."""
    lease = ExitStack()
    store = lease.enter_context(opened(lake))
    return Dataset(find(store, name), split, origins, lease)


def export(version: Version, folder: Path) -> list[Path]:
    """Copies a release into a folder of plain files, checking every shard; those that are there whole are not read."""
    receipts = {receipt.name: receipt for receipt in version.shards()}
    listed = [entry.name for entry in version.store.list(version.prefix)]

    def copied(name: str) -> Path:
        target = folder / name.removeprefix(version.prefix)
        if name not in receipts:
            return keep(target, version.store.read(name))
        if target.is_file() and digest(target.read_bytes()) == receipts[name].digest:
            return target
        return keep(target, shards.whole(version.store, receipts[name]))

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(copied, sorted({*receipts, *listed} - {f"{version.prefix}claim.json"})))


def keep(target: Path, data: bytes) -> Path:
    """Writes a file whole or not at all, unless it is there and the same; returns its path."""
    if not (target.exists() and target.read_bytes() == data):
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(target.name + ".part")
        partial.write_bytes(data)
        partial.replace(target)
    return target
