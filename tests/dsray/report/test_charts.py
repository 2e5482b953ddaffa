import math
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsray.report import charts

FINITE = st.floats(-1e9, 1e9, allow_nan=False)


def elements(svg: str, tag: str, cls: str = "") -> list[ElementTree.Element]:
    return [e for e in ElementTree.fromstring(svg).iter(tag) if cls in e.get("class", "")]


@given(FINITE, st.floats(1e-6, 1e9), st.integers(2, 9))
def test_ticks_are_round_even_inside_and_enough(low: float, size: float, least: int) -> None:
    high = low + size
    if high - low < 1e-9 * abs(low):
        return  # nothing round fits between two neighbouring floats
    found = charts.ticks(low, high, least)
    step = found[1] - found[0]
    digits = step / 10.0 ** math.floor(math.log10(step) + 1e-3)
    assert len(found) >= least
    assert low - 1e-6 * size <= found[0] and found[-1] <= high + 1e-6 * size
    assert np.allclose(np.diff(found), step, rtol=1e-3)
    assert min(abs(digits - round_step) for round_step in (1, 2, 5, 10)) < 0.05


@given(st.lists(FINITE | st.just(math.nan)), st.lists(FINITE), st.lists(FINITE, max_size=2))
def test_bins_lose_no_value_and_span_the_thresholds(
    kept: list[float], dropped: list[float], marks: list[float]
) -> None:
    edges, kept_bins, dropped_bins = charts.bins(kept, dropped, marks)
    assert sum(kept_bins) == sum(map(math.isfinite, kept))
    assert sum(dropped_bins) == len(dropped)
    if edges:
        assert edges == sorted(edges) and len(edges) == len(kept_bins) + 1
        assert all(edges[0] <= mark <= edges[-1] for mark in marks)


def test_histogram_heights_are_square_roots_of_counts() -> None:
    svg = charts.histogram([0, 1, 2], [100, 25], [4, 0], low=0.5)
    kept = [float(e.get("height", 0)) for e in elements(svg, "rect", "fill kept")]
    dropped = [float(e.get("height", 0)) for e in elements(svg, "rect", "fill quarantined")]
    assert kept[0] / kept[1] == pytest.approx(2, rel=0.01)
    assert kept[0] / dropped[0] == pytest.approx(5, rel=0.01)
    assert len(dropped) == 1  # no mark where there is no row


def test_a_threshold_stands_where_its_value_is() -> None:
    svg = charts.histogram([0, 1, 2, 3, 4], [1, 1, 1, 1], [0, 0, 0, 0], low=1, high=9)
    (line,) = elements(svg, "line", "threshold")  # 9 is outside
    second = elements(svg, "rect", "hover")[1]
    assert float(line.get("x1", 0)) == pytest.approx(float(second.get("x", 0)), abs=0.1)
    assert "min 1" in svg


def test_a_histogram_refuses_counts_that_do_not_fit_their_edges() -> None:
    for edges, counts in (([0, 1], [1, 2]), ([0], [])):
        with pytest.raises(ValueError, match="edges"):
            charts.histogram(edges, counts, counts)


def test_lines_keep_order_and_range_with_a_legend() -> None:
    svg = charts.lines({"falling": [(0, 2), (1, 1), (2, 0)], "flat": [(0, 1), (2, 1)]}, "images")
    paths = [e.get("points", "").split() for e in elements(svg, "polyline")]
    falling, flat = ([tuple(map(float, point.split(","))) for point in path] for path in paths)
    assert [x for x, _ in falling] == sorted(x for x, _ in falling)
    assert falling[0][1] < falling[1][1] < falling[2][1]  # SVG's y points down
    assert flat[0][1] == flat[1][1] == falling[1][1]
    assert {e.text for e in elements(svg, "text", "name")} == {"falling", "flat"}
    assert "images" in [e.text for e in elements(svg, "text")]


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(allow_nan=True)), max_size=400))
def test_lines_draw_anything_inside_their_box(points: list[tuple[float, float]]) -> None:
    svg = charts.lines({"loss": points})
    sane = [p for p in points if abs(p[1]) < 1e15]
    assert bool(svg) == bool(sane)
    if sane:
        _, _, width, height = map(float, ElementTree.fromstring(svg).get("viewBox", "").split())
        drawn = [p.split(",") for e in elements(svg, "polyline") for p in e.get("points", "").split()]
        assert 0 < len(drawn) <= 160
        assert all(0 <= float(x) <= width and 0 <= float(y) <= height for x, y in drawn)


def test_no_points_make_no_chart() -> None:
    assert charts.lines({}) == "" == charts.lines({"loss": [(1.0, math.nan)]})


def test_bar_widths_are_shares_and_small_parts_can_be_seen() -> None:
    widths = [float(e.get("width", 0)) for e in elements(charts.bar([("kept", 500), ("synthetic", 250)], 1000), "rect")]
    assert widths == [500, 250]
    (tiny,) = elements(charts.bar([("kept", 0), ("quarantined", 1)], 1_000_000), "rect")
    assert float(tiny.get("width", 0)) >= 4
    assert elements(charts.bar([("kept", 0)], 0), "rect") == []


def test_series_of_one_size_share_an_axis() -> None:
    first = {"images": 1.0, "d": 0.5, "g": 0.9, "r1": 0.01, "bad": math.nan}
    assert charts.families([first, {"images": 2.0, "d": 0.4, "late": -1200.0}], ["images"]) == [
        ["d", "g"],
        ["r1"],
        ["late"],
    ]


def test_names_cannot_leave_their_place() -> None:
    evil = '"><script>alert(1)</script>'
    for svg in (
        charts.lines({evil: [(0, 1), (1, 2)]}, evil, evil),
        charts.histogram([0, 1], [1], [1], label=evil),
        charts.bar([(evil, 1)], 1, evil),
    ):
        assert "<script" not in svg
        assert elements(svg, "script") == []


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.25, "0.25"), (999, "999"), (1500, "1.5k"), (61440, "61.4k"), (-2e6, "−2M"), (math.inf, "–")],
)
def test_compact(value: float, text: str) -> None:
    assert charts.compact(value) == text
