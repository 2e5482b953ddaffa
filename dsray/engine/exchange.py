"""Repartition by key on Ray Data, then one vectorised call a partition."""

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from dsray.engine.shards import cause


def exchange(
    sources: Sequence[Any],
    load: Callable[[Any], pa.Table],
    by: str,
    fn: Callable[[pa.Table], pa.Table],
    partitions: int,
) -> pa.Table:
    """All rows with one value of column `by` meet in one call of `fn`; returns what the calls return, concatenated.

    `load` makes a table of a source, in a worker; all tables have one schema. The order of the result means nothing.
    The result passes through the driver: it must be small.
    """
    import ray.data
    from ray.exceptions import RayError

    dataset = (
        ray.data.from_items([{"source": index} for index in range(len(sources))], override_num_blocks=len(sources))
        .map_batches(lambda batch: load(sources[int(batch["source"][0])]), batch_size=1)
        .repartition(partitions, keys=[by])
        .map_batches(fn, batch_size=None, batch_format="pyarrow", zero_copy_batch=True)
    )
    try:
        made = [batch for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow") if batch.num_rows]
    except RayError as error:
        raise cause(error) from error
    return pa.concat_tables(made) if made else pa.table({})
