"""Reading a release: as pandas, torch, Hugging Face or Ray data."""

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dsray.errors import DsrayError
from dsray.lake import shards
from dsray.lake.session import opened
from dsray.lake.shards import Receipt
from dsray.lake.store import Store
from dsray.stages import release
from dsray.stages.moments import channels_first, values

if TYPE_CHECKING:
    import datasets
    import pandas
    import ray.data
    import torch.utils.data
    from numpy.typing import NDArray

_FORM = ("values", "mean", "std")
"""What a release's manifest says of the numbers that loaders make."""


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
    """The version that `digits@v3`, or `digits` for the newest, names. Raises DsrayError when there is none."""
    dataset, _, wanted = name.partition("@")
    versions = release.published(store, dataset)
    if not versions:
        raise DsrayError(
            f"There is no release of '{dataset}' on {store.url}.", "Build one with `dsray run recipe.yaml`."
        )
    known = ", ".join(f"v{number}" for number in sorted(versions))
    try:
        number = int(wanted.removeprefix("v")) if wanted else max(versions)
    except ValueError:
        raise DsrayError(f"'{wanted}' is not a version.", f"Known: {known}.") from None
    if number not in versions:
        raise DsrayError(f"There is no {dataset}@v{number} on {store.url}.", f"Known: {known}.")
    manifest = json.loads(store.read(f"releases/{dataset}/v{number}/manifest.json"))
    return Version(dataset, number, store, manifest)


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

    def tables(self) -> Iterator[pa.Table]:
        """The shards one after the other, each checked against its digest."""
        for receipt in self.version.shards(self.split, self.origins):
            yield shards.read(self.version.store, receipt)

    def arrow(self) -> pa.Table:
        """All rows as one Arrow table."""
        return pa.concat_tables(self.tables())

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
    """Copies a release into a folder of plain files, checking every shard; what is there already and whole is kept."""
    written = []
    for entry in version.store.list(version.prefix):
        target = folder / entry.name.removeprefix(version.prefix)
        if target.name == "claim.json":
            continue
        data = version.store.read(entry.name)
        if target.suffix == ".parquet":
            pq.read_metadata(io.BytesIO(data))
        written.append(keep(target, data))
    return written


def keep(target: Path, data: bytes) -> Path:
    """Writes a file whole or not at all, unless it is there and the same; returns its path."""
    if not (target.exists() and target.read_bytes() == data):
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(target.name + ".part")
        partial.write_bytes(data)
        partial.replace(target)
    return target
