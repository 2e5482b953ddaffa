"""Does the data plane keep its speed with the number of shards, and its memory with their size?

Speed: measure + render + augment of 400 shards against 4 of the same size, time an image; the start of the stages,
measured on shards of one row, is left out on both sides. The 400 are the same raw shards under other names. Memory: for
raw shards of several sizes, the peak (VmHWM) of Ray's workers less that of workers that made shards of one row, over
the largest shard that a task reads or writes: the augmented one, some four times the raw one (noise, and JPEG at 95).
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import psutil

from benchmarks import protocol
from benchmarks.data_plane import all_kept, build, photo, raw_table
from dsray.engine.connect import connected
from dsray.lake import shards
from dsray.lake.shards import Receipt
from dsray.lake.store import Store, open_store

AT_LEAST = 0.9
MOST = 5
"""Bytes of memory a byte of shard, at most, beside a constant."""

Pair = tuple[Receipt, Receipt]


def written(store: Store, payloads: Sequence[bytes], number: int) -> Pair:
    """One raw shard with its verdicts."""
    table = raw_table(payloads, number * len(payloads))
    return shards.write_raw(store, "site", table), shards.write(store, f"verdicts/{number}", all_kept(table))


def seconds(folder: Path, store: Store, pairs: Sequence[Pair], times: int) -> float:
    """Of one build, as a mean over some."""
    took = 0.0
    for _ in range(times):
        start = time.perf_counter()
        build(store, *zip(*pairs, strict=True))
        took += time.perf_counter() - start
        shutil.rmtree(folder / "shards")
    return took / times


def speed(payloads: list[bytes], few: int, many: int, a_shard: int) -> tuple[float, float]:
    """Images a second on few and on many shards."""
    with tempfile.TemporaryDirectory(prefix="dsray-bench-") as name, connected():
        store = open_store(f"file://{name}")
        pairs = [written(store, payloads[n * a_shard : (n + 1) * a_shard], n) for n in range(few)]
        single = [written(store, payloads[n : n + 1], few + n) for n in range(few)]
        run = partial(seconds, Path(name), store)
        times = max(2, many // few // 10)
        start, of_few, of_many = protocol.medians(1, partial(run, single, times), partial(run, pairs, times),
                                                  partial(run, pairs * (many // few), 1))  # fmt: skip
    return few * a_shard / (of_few - start), many * a_shard / (of_many - start)


def peak(payloads: list[bytes]) -> tuple[int, int]:
    """The most memory that a worker held while two shards of these payloads were made; bytes of the largest shard."""
    with tempfile.TemporaryDirectory(prefix="dsray-bench-") as name, connected(cpus=2):
        store = open_store(f"file://{name}")
        pairs = [written(store, payloads, number) for number in range(2)]
        made = build(store, *zip(*pairs, strict=True))
        workers = [child for child in psutil.Process().children(recursive=True) if child.name().startswith("ray::")]
        return max(high_water(worker.pid) for worker in workers), max(receipt.bytes for receipt in made.shards)


def high_water(pid: int) -> int:
    """The peak of a process's memory in bytes; 0 for one that is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def main() -> int:
    quick = protocol.quick(__doc__)
    few, many, a_shard = (2, 20, 50) if quick else (4, 400, 250)
    sizes_mb = (4, 12) if quick else (4, 16, 32)  # raw; augmented 16, 64 and 128
    payloads = [photo(number) for number in range(max(few * a_shard, 500))]
    of_few, of_many = speed(payloads, few, many, a_shard)
    base, _ = peak(payloads[:1])
    row = sum(map(len, payloads)) / len(payloads)
    peaks = [peak([payloads[n % len(payloads)] for n in range(int(mb * 2**20 / row))]) for mb in sizes_mb]
    shares = [(most - base) / shard for most, shard in peaks]
    memory = [f"{shard >> 20} MB: {most >> 20} MB ({share:.1f}×)"
              for (most, shard), share in zip(peaks, shares, strict=True)]  # fmt: skip
    print(f"{of_many:.0f} images/s on {many} shards of {a_shard}, {of_few:.0f} on {few}; a worker's "
          f"peak with shards of {', '.join(memory)}, over {base >> 20} MB with one row")  # fmt: skip
    ratio = min(of_many / of_few, of_few / of_many)
    failed = protocol.verdict("sharding", of_many, of_few, ratio, AT_LEAST, "images/s")
    return failed or int(max(shares) > MOST)


if __name__ == "__main__":
    sys.exit(main())
