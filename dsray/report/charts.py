"""Data in, inline SVG out. Colours are CSS classes of the page, so that one chart serves light and dark.

Charts are about as wide as a phone: their text stays readable there, and small multiples of them fill a laptop.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeGuard

import numpy as np
from markupsafe import Markup

Point = tuple[float, float]
Scale = Callable[[float], float]

WIDTH = 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, WIDTH - 8, 8, 24
_MOST_POINTS = 160  # that a line shows: about two pixels each
_HUGE = 1e15  # a loss beyond this has exploded; it would flatten all others
_COLOURS = 6


def compact(value: float) -> str:
    """A number as short as an axis wants it: 1500 → 1.5k, 0.25 → 0.25, -2000000 → −2M."""
    if not math.isfinite(value):
        return "–"
    size, letter = next(((s, x) for s, x in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if abs(value) >= s), (1.0, ""))
    return f"{value / size:.3g}{letter}".replace("-", "−")


def ticks(low: float, high: float, least: int = 3) -> list[float]:
    """Round numbers within [low, high], 1, 2 or 5 times a power of ten apart: as few as are at least `least`."""
    if not high - low > max(1e-12 * abs(low), 1e-290):  # one value, or two that no round number parts
        return [low]
    power = math.floor(math.log10(high - low))
    for step in (m * 10.0**p for p in range(power, power - 3, -1) for m in (5, 2, 1)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first + 1 >= least:
            break
    return [round(i * step, 1 - math.floor(math.log10(step))) for i in range(first, last + 1)]


def bins(
    kept: Sequence[float], quarantined: Sequence[float], marks: Sequence[float] = (), count: int = 32
) -> tuple[list[float], list[int], list[int]]:
    """Values → (edges, kept counts, quarantined counts), over the middle 99% and the marks (thresholds).

    Values beyond join the end bins, values that are not finite are left out. Without values: ([], [], []).
    """
    parts = [part[np.isfinite(part)] for part in (np.asarray(values, np.float64) for values in (kept, quarantined))]
    values = np.concatenate(parts)
    if not len(values):
        return [], [], []
    seen = [*np.quantile(values, [0.005, 0.995]), *(m for m in marks if math.isfinite(m))]
    low, high = float(min(seen)), float(max(seen))
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, count + 1)
    kept_B, quarantined_B = (np.histogram(np.clip(part, low, high), edges)[0] for part in parts)
    return edges.tolist(), kept_B.tolist(), quarantined_B.tolist()


def histogram(
    edges: Sequence[float],
    kept: Sequence[int],
    quarantined: Sequence[int],
    low: float | None = None,
    high: float | None = None,
    label: str = "",
) -> Markup:
    """Kept and quarantined counts over the same bins, and the thresholds.

    Heights are square roots of counts, so that few rows show. Raises ValueError without one more edges than counts.
    """
    if not len(kept) == len(quarantined) == len(edges) - 1 > 0:
        raise ValueError("a histogram needs counts and one more edges than counts")
    bottom = 108
    peak = max(*kept, *quarantined, 1)
    x, root = _scale(edges[0], edges[-1], _LEFT, _RIGHT), _scale(0.0, math.sqrt(peak), bottom, _TOP + 8)
    parts = [_y_axis([(root(math.sqrt(t)), compact(t)) for t in _root_ticks(peak)])]
    parts += [_x_axis([(x(t), compact(t)) for t in ticks(edges[0], edges[-1])], bottom)]
    for name, counts in (("kept", kept), ("quarantined", quarantined)):
        for i, n in enumerate(counts):
            top = min(root(math.sqrt(n)), bottom - 1.5)  # one row is still a mark
            box = {"x": x(edges[i]) + 0.5, "width": x(edges[i + 1]) - x(edges[i]) - 1, "y": top, "height": bottom - top}
            parts += [_tag("rect", cls=f"fill {name}", **box)] if n else []
    for i in range(len(kept)):
        words = f"{compact(edges[i])} to {compact(edges[i + 1])}: {kept[i]:,} kept, {quarantined[i]:,} quarantined"
        box = {"x": x(edges[i]), "width": x(edges[i + 1]) - x(edges[i]), "y": _TOP, "height": bottom - _TOP}
        parts += [_tag("rect", _tag("title", words), cls="hover", **box)]
    parts += [_threshold(x(t), w, t, bottom) for t, w in ((low, "min"), (high, "max")) if _inside(t, edges)]
    return _chart(bottom + _BOTTOM, label, parts)


def lines(series: Mapping[str, Sequence[Point]], x_label: str = "", label: str = "") -> Markup:
    """Several series of (x, y) over one pair of axes, with a legend. Points that are not finite, or huge, are left out.

    The y axis spans the middle 96% of the values; the few beyond are drawn at its edge. No points, no chart: "".
    """
    sane = {name: [p for p in points if all(abs(v) < _HUGE for v in p)] for name, points in series.items()}
    drawn = {name: _thin(points) for name, points in sane.items() if points}
    if not drawn:
        return Markup("")
    legend, rows = _legend(list(drawn))
    top = _TOP + 16 * rows
    bottom = top + 116
    xs = [p[0] for points in drawn.values() for p in points]
    start, end = min(0.0, *xs), max(xs)
    low, high = _span([p[1] for points in drawn.values() for p in points])
    x, y = _scale(start, end, _LEFT, _RIGHT), _scale(low, high, bottom, top)
    parts = [_y_axis([(y(t), compact(t)) for t in ticks(low, high)])]
    parts += [_x_axis([(x(t), compact(t)) for t in ticks(start, end, 4)], bottom, x_label)]
    for i, points in enumerate(drawn.values()):
        at = [(x(px), y(min(max(py, low), high))) for px, py in points]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in at)
        parts += [_tag("polyline", cls=f"line s{i % _COLOURS}", points=path)]
        parts += [_tag("circle", cls=f"dot s{i % _COLOURS}", cx=at[-1][0], cy=at[-1][1], r=2.5)]
    return _chart(bottom + _BOTTOM + 12, label, [*parts, *legend])


def bar(parts: Sequence[tuple[str, float]], total: float, label: str = "") -> Markup:
    """One stacked horizontal bar, as long as its parts' share of `total`. It stretches to the cell that holds it.

    parts: (CSS class, amount). The names stand beside it in the page, where text keeps its size.
    """
    x, drawn = 0.0, [_tag("title", label)]
    for name, amount in parts:
        if amount > 0 and total > 0:
            width = max(1000 * amount / total, 4)  # what is there can be seen
            drawn += [_tag("rect", cls=f"fill {name}", x=x, y=0, width=width, height=10)]
            x += width
    view = f"0 0 {max(1000, math.ceil(x))} 10"
    return _tag("svg", *drawn, cls="bar", viewBox=view, preserveAspectRatio="none", role="img", aria_label=label)


def families(points: Sequence[Mapping[str, float]], skip: Sequence[str] = ()) -> list[list[str]]:
    """Names of series that can share a y axis: typical sizes within a factor of ten of the group's first."""
    sizes: dict[str, float] = {}
    for name in dict.fromkeys(n for point in points for n in point if n not in skip):
        values = [abs(p[name]) for p in points if name in p and math.isfinite(p[name])]
        if values:
            sizes[name] = float(np.median(values))
    groups: list[list[str]] = []
    for name, size in sizes.items():
        home = next((g for g in groups if max(sizes[g[0]], size) <= 10 * min(sizes[g[0]], size)), None)
        if home is None:
            groups.append([name])
        else:
            home.append(name)
    return groups


def _thin(points: Sequence[Point]) -> list[Point]:
    """In the order of x, and at most `_MOST_POINTS`: means of equal runs."""
    ordered = sorted(points)
    run = math.ceil(len(ordered) / _MOST_POINTS)
    if run <= 1:
        return ordered
    runs = (np.asarray(ordered[i : i + run], np.float64).mean(axis=0) for i in range(0, len(ordered), run))
    return [(float(x), float(y)) for x, y in runs]


def _span(values: Sequence[float]) -> tuple[float, float]:
    """The y axis: the middle 96% and a margin, and from zero where zero is near."""
    few = len(values) < 20
    low, high = (min(values), max(values)) if few else (float(v) for v in np.quantile(values, [0.02, 0.98]))
    if 0 < low < 0.5 * high:
        low = 0.0
    margin = (high - low) * 0.05 or abs(high) * 0.1 or 1.0
    return (0.0 if low == 0 and high > 0 else low - margin), high + margin


def _scale(low: float, high: float, start: float, end: float) -> Scale:
    """[low, high] → [start, end], linear."""
    size = (high - low) or 1.0
    return lambda value: start + (value - low) / size * (end - start)


def _root_ticks(peak: int) -> list[float]:
    """Counts for a square-root axis: zero, a round number near the peak, and one near its quarter (half the height)."""
    top = max(ticks(0, peak))
    middle = max(t for t in ticks(0, peak, 9) if t <= top / 4)
    return sorted({0.0, float(round(middle)), top})


def _inside(mark: float | None, edges: Sequence[float]) -> TypeGuard[float]:
    return mark is not None and edges[0] <= mark <= edges[-1]


def _threshold(x: float, word: str, value: float, bottom: float) -> Markup:
    """A line at a threshold, its words on the side that is kept where they fit there."""
    middle = (_LEFT + _RIGHT) / 2
    right = x < middle if abs(x - middle) > 80 else word == "min"
    line = _tag("line", cls="threshold", x1=x, x2=x, y1=_TOP - 6, y2=bottom)
    at, anchor = (x + 4, "start") if right else (x - 4, "end")
    return line + _text(at, _TOP + 2, f"{word} {compact(value)}", anchor, "mark")


def _y_axis(marks: Sequence[tuple[float, str]]) -> Markup:
    rules = [_tag("line", cls="grid", x1=_LEFT, x2=_RIGHT, y1=y, y2=y) for y, _ in marks]
    return Markup("").join([*rules, *(_text(_LEFT - 6, y + 3.5, words, "end") for y, words in marks)])


def _x_axis(marks: Sequence[tuple[float, str]], bottom: float, name: str = "") -> Markup:
    """Ticks under the plot and the axis' name under those, at the right."""
    words = [_text(x, bottom + 16, words) for x, words in marks]
    return Markup("").join([*words, _text(_RIGHT, bottom + 30, name, "end")] if name else words)


def _legend(names: Sequence[str]) -> tuple[list[Markup], int]:
    """Swatches with names, in as many rows as they need: (marks, rows)."""
    drawn, x, row = [], float(_LEFT), 0
    for i, name in enumerate(names):
        words = name if len(name) <= 28 else name[:27] + "…"
        width = 32 + 6.4 * len(words)
        if x > _LEFT and x + width > _RIGHT:
            x, row = float(_LEFT), row + 1
        y = _TOP + 16 * row
        drawn += [_tag("line", cls=f"line s{i % _COLOURS}", x1=x, x2=x + 14, y1=y, y2=y)]
        drawn += [_text(x + 19, y + 4, words, "start", "name")]
        x += width
    return drawn, row + 1


def _text(x: float, y: float, words: str, anchor: str = "middle", cls: str = "tick") -> Markup:
    return _tag("text", words, cls=cls, x=x, y=y, text_anchor=anchor)


def _chart(height: float, label: str, parts: Sequence[Markup]) -> Markup:
    return _tag("svg", *parts, cls="chart", viewBox=f"0 0 {WIDTH} {height:.0f}", role="img", aria_label=label)


def _tag(name: str, *children: str, cls: str = "", **attributes: str | float) -> Markup:
    """An element. Attribute values and plain text are escaped; Markup children are taken as they are."""
    named = {"class": cls} if cls else {}
    named |= {k.replace("_", "-"): f"{v:.1f}" if isinstance(v, float) else str(v) for k, v in attributes.items()}
    opening = Markup("").join(Markup(' {}="{}"').format(k, v) for k, v in named.items())
    return Markup("<{0}{1}>{2}</{0}>").format(name, opening, Markup("").join(children))
