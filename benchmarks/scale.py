"""`python -m benchmarks.scale`: what planning costs with up to 100,000 shards in a manifest, on a simulated store, and
docs/scale.svg, its plot."""

import math
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import simulated
from dsray import build, cost, planning
from dsray.lake.manifests import Manifest

COUNTS = [100, 1000, 10_000, 100_000]
PLOT = Path(__file__).parents[1] / "docs" / "scale.svg"

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 640, 360, 60, 170, 16, 44
_LEAST_S, _MOST_S = 1e-3, 100.0
_SIDES = (("planning, 1 in 100 changed", "#b3541e"), ("nothing to do", "#1f6f8b"))


class Quiet:
    """A listener that says nothing."""

    def started(self, step: str) -> None: ...

    def progress(self, step: str, done: int, total: int | None, note: str) -> None: ...

    def finished(self, step: str, manifest: Manifest, seconds: float, reused: bool) -> None: ...


def scale(count: int) -> tuple[float, float]:
    """CPU seconds to plan with 1 of 100 raw shards changed, and to find that nothing changed: the best of two."""
    store, wanted = simulated.Simulated(), simulated.recipe()
    simulated.built(store, wanted, count)

    def up_to_date() -> None:
        assert build.run(wanted, store, Quiet()).up_to_date

    def plan() -> None:
        planned = planning.plan(wanted, store)
        found = cost.estimates(planned, wanted, store)
        assert found["measure"].shards == max(1, count // 100)

    nothing = min(_timed(up_to_date) for _ in range(2))
    simulated.crawled(store, wanted, count, max(1, count // 100))
    return min(_timed(plan) for _ in range(2)), nothing


def _timed(fn: Callable[[], Any]) -> float:
    """CPU seconds: nothing waits here, and others may use the machine."""
    start = time.process_time()
    fn()
    return time.process_time() - start


def plot(found: Mapping[int, tuple[float, float]]) -> str:
    """Seconds over shards as SVG, both axes logarithmic: what is linear rises by a power of ten a power of ten."""
    low, high = math.log10(min(found)), math.log10(max(found))
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM

    def x(count: float) -> float:
        return _LEFT + (math.log10(count) - low) / (high - low) * (right - _LEFT)

    def y(seconds: float) -> float:
        return bottom - math.log10(seconds / _LEAST_S) / math.log10(_MOST_S / _LEAST_S) * (bottom - _TOP)

    def text(at: float, on: float, words: str, anchor: str = "middle", colour: str = "#444") -> str:
        style = f'font-family="sans-serif" font-size="12" fill="{colour}" text-anchor="{anchor}"'
        return f'<text x="{at:.1f}" y="{on:.1f}" {style}>{words}</text>'

    parts = [f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>']
    for power in range(round(math.log10(_LEAST_S)), round(math.log10(_MOST_S)) + 1):
        parts.append(f'<path d="M{_LEFT} {y(10.0**power):.1f}H{right}" stroke="#ddd"/>')
        parts.append(text(_LEFT - 8, y(10.0**power) + 4, f"{10.0**power:g} s", "end"))
    for power in range(math.ceil(low), math.floor(high) + 1):
        parts.append(f'<path d="M{x(10.0**power):.1f} {_TOP}V{bottom}" stroke="#ddd"/>')
        parts.append(text(x(10.0**power), bottom + 18, f"{10**power:,}"))
    parts.append(text((_LEFT + right) / 2, _HEIGHT - 6, "raw shards"))
    for side, (name, colour) in enumerate(_SIDES):
        points = [(x(count), y(seconds[side])) for count, seconds in sorted(found.items())]
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in points]
        parts.append(text(points[-1][0] + 8, points[-1][1] + 4, name, "start", colour))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}">'
    return "\n".join([head, *parts, "</svg>\n"])


def main() -> int:
    found = {}
    for count in COUNTS:
        found[count] = plan, nothing = scale(count)
        each = [f"{seconds:.3f} s | {1e6 * seconds / count:.0f} µs" for seconds in (plan, nothing)]
        print(f"| {count:,} | {each[0]} | {each[1]} |", flush=True)
    PLOT.write_text(plot(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
