"""Following links on a synthetic site: pages per second of one core, against 400.

Every page has 20 links and a picture; all are read, deduplicated and logged, robots.txt is kept. Seconds are processor
time of the fetch process, start included.
"""

import os
import sys
import tempfile
from itertools import count
from pathlib import Path

from benchmarks import protocol, server
from benchmarks.crawl import crawl, per_core

AT_LEAST = 400.0


def site(folder: Path, pages: int) -> None:
    """Pages that link to each other as a heap does, with navigation and one figure among some text."""
    (folder / "a.jpg").write_bytes(bytes(1000))
    for at in range(pages):
        links = {2 * at + 1, 2 * at + 2, (at - 1) // 2, *range(at + 1, at + 17)}
        ways = "".join(f'<li><a href="/{to}.html">page {to}</a></li>' for to in sorted(links) if 0 <= to < pages)
        text = f"<p>{'words of page ' * 40}{at}</p>"
        figure = '<figure><img src="/a.jpg"><figcaption>a picture</figcaption></figure>'
        head = f"<html><head><title>{at}</title></head><body><ul>"
        (folder / f"{at}.html").write_text(f"{head}{ways}</ul>{text}{figure}</body></html>")


def main() -> int:
    quick = protocol.quick(__doc__)
    pages = 1000 if quick else 5000
    cores = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory(prefix="dsray-bench-") as name, server.serve(Path(name)) as start:
        site(Path(name), pages)
        numbers = count()
        os.sched_setaffinity(0, {min(cores)})

        def read() -> int:
            item = {"image": "figure img::attr(src)", "caption": "figcaption::text"}
            lake = f"file://{name}/lake-{next(numbers)}"
            return int(crawl(lake, start=[f"{start}0.html"], item=item, budget={"pages": 100_000})["counts"]["pages"])

        (ours,) = protocol.medians(2 if quick else 5, lambda: per_core(read))
        os.sched_setaffinity(0, cores)
    print(f"{ours:.0f} pages/s of a core, {pages} pages with 20 links each")
    return protocol.verdict("links", ours, AT_LEAST, ours / AT_LEAST, 1.0, "pages/s")


if __name__ == "__main__":
    sys.exit(main())
