"""Shards of the lake as a Ray dataset."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dsray.lake import shards
from dsray.lake.shards import Receipt
from dsray.lake.store import Store

if TYPE_CHECKING:
    import ray.data


def read_shards(store: Store, receipts: Sequence[Receipt]) -> "ray.data.Dataset":
    """One block a shard; each is checked against its digest when it is read."""
    import ray.data

    def read(batch: Any) -> Any:
        return shards.read(store, receipts[int(batch["shard"][0])])

    rows = [{"shard": index} for index in range(len(receipts))]
    return ray.data.from_items(rows, override_num_blocks=max(1, len(rows))).map_batches(read, batch_size=1)
