"""Near-duplicates among 1 million 64-bit signatures, radius 4, clusters included: at most 15 s and 2 GB.

Facts lie as shards on a file lake; `twins` and the exchange do what `select` does with them, from reading to rows that
know their cluster and whom they double. Memory is the peak of the
whole process tree, Ray's own processes included. The pair search alone in one process is printed beside it.
"""

import sys
import tempfile
import time
from contextlib import suppress
from itertools import count
from threading import Event, Thread

import numpy as np
import psutil
import pyarrow as pa

from benchmarks import protocol
from dsray import duplicates, keys
from dsray.engine.connect import connected
from dsray.engine.exchange import Cluster, Handle
from dsray.lake import shards
from dsray.lake.shards import Receipt
from dsray.lake.store import Store, open_store
from dsray.selection import Duplicates
from dsray.stages.choose import state, twins

SECONDS, GIGABYTES = 15.0, 2.0
RADIUS = 4
SHARD_ROWS = 50_000
TWINS = 0.1  # of the rows are near-duplicates of another
GROUP_ROWS = 250_000  # as in select


def signatures(rows: int) -> np.ndarray:
    """Uniform words, a tenth of them copies of others with up to 4 bits flipped."""
    rng = np.random.default_rng(7)
    found = rng.integers(0, 2**64, rows, dtype=np.uint64)
    copies = int(rows * TWINS)
    near = found[rng.integers(0, rows - copies, copies)]
    for _ in range(RADIUS):
        near ^= np.uint64(1) << rng.integers(0, 64, copies).astype(np.uint64)
    found[rows - copies :] = near
    return found


def publish(store: Store, signature_N: np.ndarray) -> list[Receipt]:
    """Fact shards, as measure writes them, with the columns that twins read."""
    receipts = []
    for low in range(0, len(signature_N), SHARD_ROWS):
        part_N = signature_N[low : low + SHARD_ROWS]
        digests = [keys.digest(str(row).encode()) for row in range(low, low + len(part_N))]
        side = pa.array(np.full(len(part_N), 256.0))
        facts = pa.table([[d[:32] for d in digests], digests, part_N, side], ["id", "digest", "signature", "side"])
        receipts.append(shards.write(store, shards.name_of("measure", keys.digest(str(low).encode())), facts))
    return receipts


def group(first: int, step: int, receipts: list[Receipt], store: Store) -> pa.Table:
    """Shards as select's rounds see them, when all rows passed their own rules."""
    parts = []
    for number, receipt in zip(count(first, step), receipts, strict=False):
        facts = shards.read(store, receipt, ["id", "signature", "side"])
        place = pa.array(state.places(number, facts.num_rows))
        ids = pa.chunked_array([state.packed(facts["id"])])
        empty = {name: pa.nulls(facts.num_rows, type_) for name, type_ in state.RESULTS}
        columns = {"place": place, "id": ids, "quality": facts["side"], "signature": facts["signature"]}
        parts.append(pa.table(columns | empty | {"cluster": ids}))
    return pa.concat_tables(parts)


def twinned(part: pa.Table) -> pa.Table:
    return pa.table({"rows": [part["twinned"].drop_null().length()]})


def cluster(store: Store, receipts: list[Receipt], rows: int) -> int:
    """What select does; returns how many rows have a twin."""
    ray, size = Cluster(), max(1, GROUP_ROWS // SHARD_ROWS)
    groups = -(-len(receipts) // size)
    made: list[Handle] = ray.each([(n, groups, receipts[n::groups], store) for n in range(groups)], group)
    found = twins.find(ray, made, rows, Duplicates(exact=False, radius=RADIUS), None)
    return sum(table["rows"][0].as_py() for table in ray.fetch(ray.each([(part,) for part in found], twinned)))


def memory() -> float:
    """Gigabytes of this process and all below it, shared pages counted once."""
    total = 0
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        with suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total / 1e9


def watch(ended: Event, seen: list[float]) -> None:
    while not ended.wait(0.1):
        seen.append(memory())


def main() -> int:
    rows = 100_000 if protocol.quick(__doc__) else 1_000_000
    signature_N = signatures(rows)
    counts: list[int] = []
    seen, ended = [0.0], Event()
    with tempfile.TemporaryDirectory(prefix="dsray-bench-") as folder, connected():
        store = open_store(f"file://{folder}")
        receipts = publish(store, signature_N)
        watcher = Thread(target=watch, args=(ended, seen), daemon=True)
        watcher.start()

        def through_ray() -> float:
            start = time.perf_counter()
            counts.append(cluster(store, receipts, rows))
            return time.perf_counter() - start

        def alone() -> float:
            start = time.perf_counter()
            i, j = duplicates.pairs(signature_N, RADIUS)
            duplicates.clusters(rows, i, j)
            counts.append(len(np.unique(np.concatenate([i, j]))))
            return time.perf_counter() - start

        seconds, prototype = protocol.medians(5, through_ray, alone)
        ended.set()
        watcher.join(timeout=10)
    if len(set(counts)) > 1:
        print(f"The two do not agree on the rows that have twins: {sorted(set(counts))}.")
        return 1
    print(f"{rows:,} signatures: {seconds:.2f} s on the exchange, {prototype:.2f} s in one process, {max(seen):.2f} GB")
    ratio = min(SECONDS / seconds, GIGABYTES / max(seen))
    return protocol.verdict("near_duplicates", seconds, SECONDS, ratio, 1.0, "s")


if __name__ == "__main__":
    sys.exit(main())
