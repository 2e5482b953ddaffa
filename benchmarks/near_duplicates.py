"""Near-duplicates among 1 million 64-bit signatures, radius 4, clusters included: at most 15 s and 2 GB.

Facts lie as shards on a file lake; `twins` and the exchange do what `select` does with them. Memory is the peak of the
whole process tree, Ray's own processes included. The pair search alone in one process is printed beside it.
"""

import sys
import tempfile
import time
from contextlib import suppress
from functools import partial
from threading import Event, Thread

import numpy as np
import psutil
import pyarrow as pa

from benchmarks import protocol
from dsray import duplicates, keys
from dsray.engine.connect import connected
from dsray.engine.exchange import exchange
from dsray.lake import shards
from dsray.lake.shards import Receipt
from dsray.lake.store import Store, open_store
from dsray.stages import twins

SECONDS, GIGABYTES = 15.0, 2.0
RADIUS = 4
SHARD_ROWS = 50_000
TWINS = 0.1  # of the rows are near-duplicates of another
PARTITION_ROWS = 500_000  # as in select


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


def load(receipt: Receipt, *, store: Store) -> pa.Table:
    return twins.keyed(shards.read(store, receipt), False, RADIUS)


def cluster(store: Store, receipts: list[Receipt], partitions: int) -> int:
    """What select does; returns how many rows have a twin."""
    met = exchange(receipts, partial(load, store=store), twins.KEY, partial(twins.edges, radius=RADIUS), partitions)
    return len(twins.resolve(met))


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
            counts.append(cluster(store, receipts, 1 + rows // PARTITION_ROWS))
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
