"""What all figures share: --quick, sides measured in turn, and a verdict as one line of JSON."""

import argparse
import json
import statistics
import time
from collections.abc import Callable

Side = Callable[[], float | None]
"""Does its work once; returns what it measured, or None to be timed from outside in seconds."""


def quick(doc: str | None) -> bool:
    """Reads the command line: --quick, under a minute, or the full size."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="under a minute")
    return bool(parser.parse_args().quick)


def medians(rounds: int, *sides: Side) -> list[float]:
    """The median of each side over `rounds` rounds; sides take turns, so that what disturbs one disturbs all.

    One round more goes first and does not count: it warms caches, imports and workers.
    """
    seen: list[list[float]] = [[] for _ in sides]
    for number in range(rounds + 1):
        for measured, side in zip(seen, sides, strict=True):
            start = time.perf_counter()
            value = side()
            measured.append(time.perf_counter() - start if value is None else value)
        if not number:
            seen = [[] for _ in sides]
    return [statistics.median(measured) for measured in seen]


def verdict(name: str, value: float, baseline: float, ratio: float, at_least: float, unit: str) -> int:
    """Prints the last line; the exit code says whether the figure holds. A larger ratio is better."""
    figure = {"name": name, "value": round(value, 4), "baseline": round(baseline, 4), "ratio": round(ratio, 3)}
    print(json.dumps({**figure, "at_least": at_least, "unit": unit}), flush=True)
    return 0 if ratio >= at_least else 1
