"""dsray.console: a line a stage, then the table."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from dsray.build import Outcome
from dsray.console import Lines, plan_table, summary
from dsray.lake.manifests import Manifest
from dsray.planning import Planned


def screen() -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, width=120, soft_wrap=True), file


def manifest(stage: str, counts: dict, **details) -> Manifest:
    return Manifest(stage, 1, "k" * 64, {}, [], [], counts, details)


MADE = {
    "collect": manifest("collect", {"in": 12, "kept": 12, "quarantined": 0}, pages=3),
    "select": manifest(
        "select", {"in": 12, "kept": 10, "quarantined": 2}, quarantine={"blur": 1, "dark": 1}, classes={}
    ),
    "gather": manifest("gather", {"in": 10, "kept": 10, "quarantined": 0}),
}


def test_each_finished_step_is_one_line():
    console, file = screen()
    lines = Lines(console)
    lines.started("collect")
    lines.progress("collect", 5, 12, "2 pages")
    lines.finished("collect", MADE["collect"], 1.25, reused=False)
    lines.finished("select", MADE["select"], 0.1, reused=True)
    first, second = file.getvalue().splitlines()
    assert first.split() == ["collect", "12", "rows", "3", "pages,", "0", "raw", "shards", "1.2", "s"]
    assert second.endswith("up to date") and "2 quarantined by 2 rules" in second


@pytest.mark.parametrize(("left", "said"), [
    ({"unreal": 9}, "9 not real enough"),
    ({"denied": 2, "sure": 7}, "2 of another class, 7 too sure"),
])  # fmt: skip
def test_what_was_rejected_is_told(left, said):
    console, file = screen()
    made = manifest("synthesize", {"in": 8, "kept": 8}, candidates=20, near=3, **left)
    Lines(console).finished("synthesize gan", made, 1.0, reused=False)
    assert f"of 20 candidates; 3 near to training rows, {said}" in file.getvalue()


def test_the_table_adds_up():
    console, file = screen()
    summary(console, Outcome(MADE))
    rows = {line.rsplit(maxsplit=1)[0].strip(): int(line.split()[-1]) for line in file.getvalue().splitlines() if line}
    assert rows["rows in"] == rows["kept"] + rows["quarantined"]
    assert rows["quarantined"] == rows["blur"] + rows["dark"]


def test_a_plan_says_why():
    console, file = screen()
    plan_table(
        console,
        [Planned("select", "make", "select.drop.blur.min: 15 → 20"), Planned("gather", "unknown", "after select")],
        {},
    )
    assert file.getvalue().splitlines()[0].split(maxsplit=2) == ["select", "make", "select.drop.blur.min: 15 → 20"]


def test_an_accepted_release_says_what_failed_and_why():
    gate = {"model": "gan", "gate": "usefulness", "value": 0.4, "limit": "min 0.85", "passed": False, "doubt": ""}
    release = replace(manifest("release", {}), params={"gates": [gate], "accepted": "a smoke test"})
    console, file = screen()
    summary(console, Outcome(MADE | {"release": release}))
    assert "although gan: usefulness is 0.400, the limit is min 0.85." in file.getvalue()
    assert "accepted: a smoke test" in file.getvalue()
