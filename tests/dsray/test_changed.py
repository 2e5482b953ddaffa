"""dsray.changed: differences as dotted paths."""

from dsray.changed import changes


def said(before, now) -> list[str]:
    return [str(one) for one in changes(before, now)]


def test_a_difference_is_told_by_its_path():
    before = {"select": {"blur": {"min": 20}, "dark": {"max": 0.9}}, "seed": 7}
    now = {"select": {"blur": {"min": 30}, "bright": {"max": 0.9}}, "seed": 7}
    assert said(before, now) == [
        "select.blur.min: 20 → 30",
        "select.bright: unset → {'max': 0.9}",
        "select.dark: {'max': 0.9} → unset",
    ]
    assert said(before, before) == []


def test_tuples_are_lists_and_none_is_not_set():
    assert said({"scale": [0.9, 1.1], "x": None}, {"scale": (0.9, 1.1)}) == []


def test_long_values_are_cut():
    (line,) = said({"a": "x" * 100}, {"a": 1})
    assert line == f"a: {'x' * 37}... → 1"
