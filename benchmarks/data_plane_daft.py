"""measure + render against Daft 0.7 on the same raw shards: images per second.

Daft decodes, hashes, resizes to 224 and encodes JPEG (quality 75, as here) in one pass of its native engine, and writes
Parquet. Its filter is Pillow's antialiased bilinear to a grey level, so dsray takes that here. dsray does more: it
computes all signals beside the hash, and writes facts, forms and samples with digest, fsync and receipt. Daft's seconds
are its query's, without start and imports.
"""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from benchmarks import protocol
from benchmarks.data_plane import RENDER, Corpus, corpus, timed

AT_LEAST = 1.5
SIDE = 224
THEIRS = Path(__file__).parent.parent / ".venv" / "daft-env" / "bin" / "python"

_QUERY = """
import sys, time
import daft
from daft import col
from daft.functions import decode_image, encode_image, image_hash, resize

out, side, *files = sys.argv[1:]
daft.set_runner_native()
start = time.perf_counter()
image = decode_image(col("payload"), mode=daft.ImageMode.RGB)
daft.read_parquet(files).select(
    "id", image_hash(image).alias("hash"), encode_image(resize(image, int(side), int(side)), "jpeg").alias("image")
).write_parquet(out, write_mode="overwrite")
print(time.perf_counter() - start)
"""


def query(lake: Corpus) -> float:
    command = [str(THEIRS), "-c", _QUERY, str(lake.folder / "daft"), str(SIDE), *lake.files]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    return float(done.stdout.split()[-1])


def main() -> int:
    images, a_shard = (1200, 100) if protocol.quick(__doc__) else (8000, 500)
    if not THEIRS.exists():
        print("Daft is not installed: `make bench` installs it.", file=sys.stderr)
        return 2
    with corpus(images, a_shard) as lake:
        dsray = partial(timed, lake, form={**RENDER, "side": SIDE, "quality": 75, "filter": "bilinear"}, copies=None)
        ours, theirs = (images / seconds for seconds in protocol.medians(5, dsray, partial(query, lake)))
    print(f"{ours:.0f} images/s through measure and render, {theirs:.0f} by Daft; {os.cpu_count()} cores")
    return protocol.verdict("data_plane_daft", ours, theirs, ours / theirs, AT_LEAST, "images/s")


if __name__ == "__main__":
    sys.exit(main())
