"""What lies in quarantine, rule by rule: rows, examples, and how many another threshold would bring back."""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dsray.lake import shards
from dsray.lake.manifests import Manifest
from dsray.lake.store import Store

_BOUND = re.compile(r"(min|max) (\S+)")
_STEPS = (0.25, 0.5, 0.75)
_MOST_SHARDS = 64
_THREADS = 16


@dataclass(frozen=True)
class Caught:
    """The rows that one rule dropped. `back` is (threshold, rows that it would no longer drop), cumulative."""

    rule: str
    rows: int
    share: float
    threshold: str
    examples: Sequence[tuple[str, str]] = ()  # value, URL
    back: Sequence[tuple[str, int]] = field(default=())


def caught(raw: Manifest, select: Manifest, store: Store, examples: int = 3) -> list[Caught]:
    """Every rule with its rows, most first. Thresholds are judged by all rows; examples are of the first shards."""
    counts: dict[str, int] = select.details["quarantine"]
    values: dict[str, list[pa.ChunkedArray]] = {}
    thresholds: dict[str, str] = {}
    shown: dict[str, list[tuple[str, str]]] = {}

    def read(place: int) -> pa.Table:
        table = shards.read(store, select.shards[place], ["rule", "value", "threshold"])
        there = table["rule"].is_valid()
        rows = np.flatnonzero(there.to_numpy())
        return table.filter(there).append_column("row", pa.array(rows))

    with ThreadPoolExecutor(_THREADS) as pool:
        for place, table in enumerate(pool.map(read, range(len(select.shards)))):
            for rule in table["rule"].unique().to_pylist():
                of_rule = table.filter(pc.equal(table["rule"], rule))
                values.setdefault(rule, []).append(of_rule["value"])
                thresholds.setdefault(rule, of_rule["threshold"][0].as_py() or "")
                room = examples - len(shown.setdefault(rule, []))
                if room > 0 and place < _MOST_SHARDS:
                    first = of_rule.slice(0, room)
                    urls = shards.read(store, raw.shards[place], ["url"])["url"].take(first["row"])
                    pairs = zip(first["value"].to_pylist(), urls.to_pylist(), strict=True)
                    shown[rule] += [(value or "", url or "") for value, url in pairs]
    total = max(1, select.counts["in"])
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [
        Caught(rule, rows, rows / total, thresholds.get(rule, ""), shown.get(rule, []),
               back(numbers(values.get(rule, [])), thresholds.get(rule, "")))
        for rule, rows in order
    ]  # fmt: skip


def numbers(values: Sequence[pa.ChunkedArray]) -> NDArray[np.float64]:
    """What rows' values say as numbers; those that say none are left out."""
    found = []
    for chunk in values:
        for value in chunk.to_pylist():
            try:
                found.append(float(value))
            except (TypeError, ValueError):
                continue
    return np.array(found, np.float64)


def back(value_N: NDArray[np.float64], threshold: str) -> list[tuple[str, int]]:
    """(looser threshold, dropped rows that pass it) for about a quarter, half, three quarters and all of the rows.

    Thresholds are the roundest numbers that do it. Empty where a rule has no number.
    """
    bound = _BOUND.match(threshold)
    if not bound or not len(value_N):
        return []
    side, limit = bound[1], float(bound[2])
    sign = -1 if side == "min" else 1  # in the direction in which the threshold gets looser
    away_N = np.sort(sign * value_N)
    found: dict[str, int] = {}
    for share in _STEPS:
        wanted = away_N[int(np.ceil(share * len(away_N))) - 1]
        loose = _round(float(wanted), sign * limit)
        rows = int(np.searchsorted(away_N, loose, side="right"))
        if rows < len(away_N):
            found[f"{side} {sign * loose:g}"] = rows
    steps = sorted(found.items(), key=lambda item: item[1])
    distinct = [step for place, step in enumerate(steps) if place == 0 or step[1] > steps[place - 1][1]]
    return [*distinct, (f"no {side}", len(away_N))]


def _round(value: float, limit: float) -> float:
    """The roundest number that is at least `value` and nearer to it than to the limit."""
    for digits in range(1, 7):
        step = 10.0 ** (np.floor(np.log10(max(abs(value), 1e-12))) + 1 - digits)
        found = float(np.round(np.ceil(value / step - 1e-9) * step, 12))
        if found - value <= abs(value - limit) / 2:
            return found
    return value
