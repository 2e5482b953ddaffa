"""A list of URLs, fetched with everything on, against img2dataset: images per second of one core.

The same images from the same local server on another core. dsray: robots.txt, tdmrep.json, ai.txt and opt-out headers,
address guard, limits, SHA-256, Parquet on a file lake. img2dataset 1.47, as it comes but for `resize_mode=no`: no
robots.txt, no guard; it decodes each image, checks its size, hashes it (SHA-256) and writes Parquet. Its
`disable_all_reencoding` leaves the decoding out: that figure is printed too, and is the fairer one for what both do.
Seconds are processor time of each side's whole process, start included.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks import protocol, server
from crawlers import rounds
from crawlers.rounds import Crawl
from dsray.collection import Crawl as Params
from dsray.errors import UnreachedError
from dsray.lake.store import open_store
from dsray.stages import collect

AT_LEAST = 1.1
THEIRS = Path(__file__).parent.parent / ".venv" / "img2dataset-env" / "bin" / "python"
MOST_MB = 400

_DOWNLOAD = """
import sys
from img2dataset import download
if __name__ == "__main__":
    download(url_list=sys.argv[1], output_folder=sys.argv[2], output_format="parquet", input_format="txt",
             processes_count=1, thread_count=32, resize_mode="no", disable_all_reencoding=sys.argv[3] == "bytes",
             compute_hash="sha256", number_sample_per_shard=5000, enable_wandb=False, retries=0)
"""


def images(folder: Path, number: int) -> None:
    """JPEGs of 192 × 192 pixels, 10 KB each."""
    random = np.random.default_rng(0)
    for at in range(number):
        coarse = random.integers(0, 256, (24, 24, 3), np.uint8)
        pixels = cv2.resize(coarse, (192, 192), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{at}.jpg"), pixels, [cv2.IMWRITE_JPEG_QUALITY, 85])


def per_core(work: Callable[[], int]) -> float:
    """What `work` counts, per second of processor time of its child processes."""

    def spent() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    before = spent()
    return work() / (spent() - before)


def crawl(lake: str, **params: Any) -> dict[str, Any]:
    """A crawl on one core, its fetch processes one after the other."""
    said = {"allow_private": True, "user_agent": "dsray (+http://example.org)", "concurrency": 32, **params}
    model = Params.model_validate(said)

    def fetch_all(jobs: list[dict[str, Any]]) -> list[dict[str, Any] | UnreachedError]:
        return [collect.fetch(job, lambda _: None) for job in jobs]

    return rounds.run(Crawl(open_store(lake), "web", model.model_dump(mode="json"), sorted(model.fields()), True,
                            workers=1), fetch_all)  # fmt: skip


def main() -> int:
    quick = protocol.quick(__doc__)
    number, repeats = (500, 2) if quick else (2000, 5)
    cores = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory(prefix="dsray-bench-") as name, server.serve(Path(name)) as site:
        folder = Path(name)
        images(folder, number)
        urls = folder / "urls.txt"
        urls.write_text("".join(f"{site}{at}.jpg?n={n}\n" for n in range(repeats) for at in range(number)))
        numbers = count()
        os.sched_setaffinity(0, {min(cores)})

        def dsray() -> int:
            lake = f"file://{folder}/lake-{next(numbers)}"
            return int(crawl(lake, urls={"path": str(urls)})["counts"]["items"])

        def img2dataset(how: str) -> int:
            out = folder / f"out-{next(numbers)}"
            command = [str(THEIRS), "-c", _DOWNLOAD, str(urls), str(out), how]
            subprocess.run(command, check=True, capture_output=True, timeout=600)
            told = [json.loads(path.read_text()) for path in out.glob("*_stats.json")]
            return int(sum(one["successes"] for one in told))

        most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        mine = per_core(dsray)
        most = max(most, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) // 1024
        sides = (lambda: per_core(dsray), lambda: per_core(lambda: img2dataset("decoded")),
                 lambda: per_core(lambda: img2dataset("bytes")))  # fmt: skip
        ours, theirs, bytes_only = protocol.medians(2 if quick else 5, *sides)
        os.sched_setaffinity(0, cores)
    print(f"{ours:.0f} images/s of a core with everything on (first run {mine:.0f}, {most} MB at most), img2dataset "
          f"{theirs:.0f}, and {bytes_only:.0f} without decoding: {ours / bytes_only:.2f} of that")  # fmt: skip
    failed = protocol.verdict("crawl", ours, theirs, ours / theirs, AT_LEAST, "images/s")
    return failed or int(most > MOST_MB)


if __name__ == "__main__":
    sys.exit(main())
