"""Shard to shard on Ray Data: one task reads a shard's column families, maps them, and puts one object.

The rows of the Ray dataset are the work, not the data: a shard's bytes never enter the object store, the driver sees
receipts only, and a task that is run twice finds its object and adopts it. See DECISIONS.md.
"""

import json
import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from dsray.engine.connect import cpus, memory
from dsray.errors import ClusterError, DsrayError
from dsray.lake import shards
from dsray.lake.shards import Receipt
from dsray.lake.store import Store

_QUEUED = 1000
"""Tasks that wait in Ray at once: more would only delay the first receipts."""
_BATCH = 16
"""Shards that one task makes at most, where a shard takes less time than a task."""
_TASKS = 4
"""Tasks a core at least, before one makes several shards."""
_FAR = 2
"""Tasks of a core at once where the lake is far: one computes while the other waits for it."""
_WORKER_BYTES, _GROWTH = 250e6, 8
"""Memory of a task: so much, and so many times the bytes that it reads (benchmarks/sharding.py)."""

Progress = Callable[[int, int], None]
Made = tuple[pa.Table, Mapping[str, int]]
Map = Callable[..., Made | Sequence[Made]]
"""(given if there is any, *tables, careful=bool) → (table, counts), or those of `name` and then those of every shard
beside it. Careful means that an earlier try killed its process."""

_GO_ON = "Run again to go on from here; --debug shows all."


@dataclass(frozen=True)
class Work:
    """One shard to make: its name, and the families to read, each whole or some columns of it.

    A name that ends in / is a folder: the shard is made each time and named by its own bytes. `given` is JSON that `fn`
    gets before the tables. `beside` names shards that the same reading makes.
    """

    name: str
    inputs: Sequence[tuple[Receipt, Sequence[str] | None]]
    given: Mapping[str, Any] | None = None
    beside: Sequence[str] = ()


def map_shards(
    store: Store,
    works: Sequence[Work],
    fn: Map,
    progress: Progress,
    known: Iterable[Receipt] = (),
    light: bool = False,
) -> list[Receipt]:
    """The receipts of all shards, in order; those that exist are adopted, the others made by `fn` on the cluster.
    What lies beside a shard is written before it: whoever wants that adopts it.

    `known`: shards that exist, so that nobody asks the store. `light`: a shard takes milliseconds, so that a task makes
    several. `progress` is called with (rows made so far, shards left). Raises what `fn` raises if it is a DsrayError.
    """
    receipts = _existing(store, works, {receipt.name: receipt for receipt in known})
    missing = [index for index, receipt in enumerate(receipts) if receipt is None]
    if missing:
        made = _make(store, [(index, works[index]) for index in missing], fn, progress, light)
        receipts = [made.get(index, receipt) for index, receipt in enumerate(receipts)]
    return [receipt for receipt in receipts if receipt is not None]


def _existing(store: Store, works: Sequence[Work], known: Mapping[str, Receipt]) -> list[Receipt | None]:
    unknown = [work.name for work in works if work.name not in known]
    with ThreadPoolExecutor(32) as pool:
        found = {**known, **dict(zip(unknown, pool.map(partial(_adopted, store), unknown), strict=True))}
    return [found[work.name] for work in works]


def _adopted(store: Store, name: str) -> Receipt | None:
    return None if name.endswith("/") else shards.adopt(store, name)


def _make(
    store: Store, todo: Sequence[tuple[int, Work]], fn: Map, progress: Progress, light: bool
) -> dict[int, Receipt]:
    import ray.data
    from ray.exceptions import RayError

    batch = min(_BATCH, max(1, len(todo) // (_TASKS * cpus()))) if light else 1
    said = [[index, asdict(work)] for index, work in todo]
    rows = [{"works": json.dumps(said[low : low + batch])} for low in range(0, len(said), batch)]
    queued = ray.data.TaskPoolStrategy(size=min(_QUEUED, len(rows)))
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        partial(_work, store=store, fn=fn), compute=queued, num_cpus=1 / _at_once(store, [work for _, work in todo])
    )
    dataset.context.op_resource_reservation_enabled = False  # it runs one task at a time for a second, then late
    made: dict[int, Receipt] = {}
    done = 0
    try:
        for row in dataset.iter_rows():
            if row["failure"]:
                raise pickle.loads(row["failure"])
            for index, receipt in json.loads(row["receipts"]):
                made[index] = Receipt(**receipt)
                done += made[index].rows
                progress(done, len(todo) - len(made))
    except RayError as error:
        raise cause(error) from error
    return made


def _at_once(store: Store, works: Sequence[Work]) -> int:
    """Tasks of a core at once: as many as its memory has room for."""
    largest = max(sum(receipt.bytes for receipt, _ in work.inputs) for work in works)
    return _FAR if store.far and _FAR * (_WORKER_BYTES + _GROWTH * largest) <= memory() / cpus() else 1


def _work(row: dict[str, Any], store: Store, fn: Map) -> dict[str, Any]:
    """In a worker: read, map, put. Returns the receipts, or why there is none: Ray Data keeps only an error's text."""
    receipts = []
    for index, work in json.loads(row["works"]):
        try:
            receipts.append([index, asdict(_made(work, store, fn))])
        except DsrayError as error:
            return {"receipts": "", "failure": pickle.dumps(error)}
        except Exception as error:
            why = f"{work['name']} could not be made: {type(error).__name__}: {error}."
            return {"receipts": "", "failure": pickle.dumps(ClusterError(why, _GO_ON))}
    return {"receipts": json.dumps(receipts), "failure": b""}


def _made(work: dict[str, Any], store: Store, fn: Map) -> Receipt:
    careful = _tries() > 0
    if careful and (there := _adopted(store, work["name"])):
        return there  # made before the earlier try died
    tables = [shards.read(store, Receipt(**receipt), columns) for receipt, columns in work["inputs"]]
    given = [] if work["given"] is None else [work["given"]]
    made = fn(*given, *tables, careful=careful)
    tables.clear()  # their memory is needed for the encoded shard
    (table, counts), *others = [made] if isinstance(made, tuple) else made
    for name, (other, counted) in zip(work["beside"], others, strict=True):
        shards.write(store, name, other, counted)
    if work["name"].endswith("/"):
        return shards.write_named(store, work["name"].rstrip("/"), table, counts)
    return shards.write(store, work["name"], table, counts)


def _tries() -> int:
    """How often this task was tried before; a retry after a crash is the only cause in this engine."""
    from ray._private.worker import global_worker

    core: Any = global_worker
    return int(core.core_worker.get_current_task_attempt_number())


def cause(error: BaseException) -> DsrayError:
    """What a person should read of an error that crossed Ray: our own error inside it, else its first line."""
    seen: BaseException | None = error
    while seen is not None:
        inner = getattr(seen, "cause", None)  # RayTaskError also pretends to be of its cause's class
        if isinstance(seen, DsrayError) and inner is None:
            return seen
        seen = inner if isinstance(inner, BaseException) else seen.__cause__
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return ClusterError(f"A task failed on the cluster: {lines[-1].strip().rstrip('.')}.", _GO_ON)
