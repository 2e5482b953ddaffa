"""measure + render + augment on an S3 that is far, with two tasks a core, as dsray has them there, against one.

The server is the embedded SeaweedFS behind a proxy with AWS's own figures ("Performance guidelines for Amazon S3"): 85
MB a second a connection, and half of the 100 ms that it says a first byte takes at least. Server and proxy use the same
cores as the build, so that both sides lose some of their speed to them. Parquet, digests and the stages' own objects
are in both sides.
"""

import os
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks import protocol
from benchmarks.data_plane import all_kept, build, photo, raw_table
from benchmarks.slow_wire import slow
from dsray.engine import shards as engine
from dsray.engine.connect import connected
from dsray.lake import embedded, shards
from dsray.lake.shards import Receipt
from dsray.lake.store import Store, open_store

AT_LEAST = 1.15
PAUSE_S, BYTES_A_SECOND = 0.05, 85e6
A_SHARD = 500


def timed(store: Store, raw: list[Receipt], verdicts: list[Receipt], tasks: int) -> float:
    """Images a second; what was made is removed, else the next round finds all made."""
    engine._FAR = tasks
    start = time.perf_counter()
    rows = build(store, raw, verdicts).counts["kept"]
    seconds = time.perf_counter() - start
    for entry in store.list("shards/"):
        store.delete(entry.name)
    return rows / seconds


def main() -> int:
    count = 4 if protocol.quick(__doc__) else 16
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dsray-bench-"))) / "lake"
        server = stack.enter_context(embedded.serve(folder))
        stack.callback(embedded.stop, folder)  # which waits for its end, so that it writes nothing after the folder
        os.environ.update(embedded.environment(server))
        os.environ["AWS_ENDPOINT_URL"] = stack.enter_context(slow(server.endpoint, PAUSE_S, BYTES_A_SECOND))
        stack.enter_context(connected())
        store = open_store(server.url)
        assert store.far
        tables = [raw_table([photo(n) for n in range(low, low + A_SHARD)], low)
                  for low in range(0, count * A_SHARD, A_SHARD)]  # fmt: skip
        raw = [shards.write_raw(store, "site", table) for table in tables]
        verdicts = [shards.write(store, f"verdicts/{n}", all_kept(table)) for n, table in enumerate(tables)]
        two, one = protocol.medians(3, *(partial(timed, store, raw, verdicts, tasks) for tasks in (2, 1)))
    print(f"{two:.0f} images/s with two tasks a core, {one:.0f} with one; {os.cpu_count()} cores, {count} shards of "
          f"{A_SHARD}, {BYTES_A_SECOND / 1e6:.0f} MB/s a connection, {PAUSE_S * 1000:.0f} ms")  # fmt: skip
    return protocol.verdict("far_lake", two, one, two / one, AT_LEAST, "images/s")


if __name__ == "__main__":
    sys.exit(main())
