"""What a round costs beside fetching, with 5,000,000 known URLs: choose and update, on two cores, within 4 GB.

Known: 5 million URLs of 50,000 hosts, a fifth of them due. A round: 200,000 tries and 1,000,000 finds, half of them
new. Measured: reading the state, choosing, writing the lists, reading the logs, updating, writing the state, each once.
"""

import resource
import sys
import tempfile
import time
from collections import Counter

import numpy as np
import pyarrow as pa

from benchmarks import protocol
from crawlers import rounds
from crawlers.known import KNOWN
from crawlers.rounds import Crawl
from dsray.collection import Crawl as Params
from dsray.lake import shards
from dsray.lake.store import open_store

AT_MOST_S = 180.0
AT_MOST_GB = 4.0
BUCKET = 500_000


def table(start: int, rows: int, state: str, hosts: int) -> pa.Table:
    """Records of URLs number `start` and on."""
    at_N = np.arange(start, start + rows)
    key_N = (at_N.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) ^ np.uint64(0x5851F42D4C957F2D)
    host = pa.array([f"host-{n}.org" for n in range(hosts)])
    host_N = pa.DictionaryArray.from_arrays(pa.array((at_N % hosts).astype(np.int32)), host).dictionary_decode()
    tail = pa.array([f"/pictures/of/{n}/{n * 7919 % 99991}.jpg" for n in at_N.tolist()])
    url = pa.compute.binary_join_element_wise("https://", host_N, tail, "")
    constant = {
        "kind": "item", "page": "https://host-1.org/gallery", "depth": 2, "fields": '{"caption": "a picture"}',
        "state": state, "tries": 0, "wait_s": 86400.0,
    }  # fmt: skip
    if state == "done":
        constant |= {"outcome": "kept", "due": time.time() + 9e9, "asked": time.time(), "etag": '"5f3a-61b2c7"',
                     "digest": "0" * 64, "row": "0" * 32}  # fmt: skip
    columns = {name: pa.repeat(pa.scalar(value, KNOWN.field(name).type), rows) for name, value in constant.items()}
    columns |= {"key": pa.array(key_N), "url": url, "host": host_N}
    return pa.table([columns.get(f.name, pa.nulls(rows, f.type)) for f in KNOWN], schema=KNOWN).sort_by("key")


def main() -> int:
    known = 500_000 if protocol.quick(__doc__) else 5_000_000
    hosts = max(100, known // 100)
    said = {"start": ["https://host-1.org/"], "item": {"image": "img"}, "user_agent": "x@y"}
    model = Params.model_validate({**said, "budget": {"pages": 10**9, "mb": 10**9}})
    with tempfile.TemporaryDirectory(prefix="dsray-bench-") as folder:
        crawl = Crawl(open_store(f"file://{folder}"), "web", model.model_dump(mode="json"), [], True)
        crawl.store.create(f"{crawl.root}/round-00000/listed", b"")
        buckets = rounds.buckets_for(known)
        by_bucket: list[list[pa.Table]] = [[] for _ in range(buckets)]
        for start in range(0, known, BUCKET):
            rows = min(BUCKET, known - start)
            old = rows * 4 // 5
            for part in (table(start, old, "done", hosts), table(start + old, rows - old, "new", hosts)):
                for bucket, piece in enumerate(rounds.split(part, buckets)):
                    by_bucket[bucket].append(piece)
        stored = []
        for bucket, pieces in enumerate(by_bucket):
            stored.append(rounds.put(crawl, 0, bucket, pa.concat_tables(pieces).sort_by("key")))
            pieces.clear()
        tried = table(known - known // 5, known // 25, "done", hosts)
        logs = [tried, table(known - known // 10, known // 5, "new", hosts)]
        told = []
        for number, log in enumerate(logs):
            receipt = shards.write(crawl.store, f"{crawl.root}/log-{number}.parquet", log)
            told.append(receipt.__dict__)
        del logs, tried, by_bucket
        state = {"round": 0, "known": stored, "sites": "", "urls": known, "hosts": {}, "pauses": {}, "counts": {},
                 "shards": [], "progress": 1, "seconds": 0.0}  # fmt: skip
        begin = {"base": None, "began": time.time(), "revisit": "none"}
        ends = [{"logs": told, "shards": [], "counts": Counter(errors={}), "hosts": {}, "sites": [], "pauses": {}}]
        began = time.perf_counter()
        chosen = rounds._choose(crawl, begin, state, 1)
        chose = time.perf_counter() - began
        assert chosen is not None and chosen["chosen"] > known // 6, chosen
        after = rounds._update(crawl, state, chosen, ends, 0.0)
        seconds = time.perf_counter() - began
        assert after["urls"] == known + known // 10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{known:,} known URLs: chosen in {chose:.1f} s, updated in {seconds - chose:.1f} s, {peak:.2f} GB")
    failed = protocol.verdict("frontier", seconds, AT_MOST_S, AT_MOST_S / seconds, 1.0, "s")
    return failed or int(peak > AT_MOST_GB)


if __name__ == "__main__":
    sys.exit(main())
