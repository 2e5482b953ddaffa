"""Ten thousand damaged files of all formats: each one is a row with facts or with a reason, whatever it does."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rows import facts_of, raw_table
from tests.dsray.kinds.image.mutated import mutated, whole_files
from tests.dsray.kinds.image.pictures import FORMATS

FILES = 10_000
PROCESSES = 2
PEAK = 1.6 * 2**30
"""Bytes of a process that decodes what takes most: a WebP of 64 million pixels with alpha, in five copies of 256 MB."""
REASONS = {"empty", "not_an_image", "svg", "truncated", "broken", "bomb", "mode"}


def outcomes(first: int) -> Iterator[dict[str, Any]]:
    """What every PROCESSES-th file ends as. One that ends the process must be a crashed row, and the rest goes on."""
    command = [sys.executable, "-m", "tests.dsray.kinds.image.mutated"]
    while first < FILES:
        done = subprocess.run(
            [*command, str(first), str(PROCESSES), str(FILES)],
            capture_output=True, text=True, timeout=500, cwd=Path(__file__).parents[4],
        )  # fmt: skip
        lines = done.stdout.splitlines()
        yield from (json.loads(line) for line in lines if line.startswith("{"))
        assert done.stderr == "", done.stderr[-2000:]
        if done.returncode == 0:
            return
        killed = int(lines[-1])
        assert done.returncode < 0, f"file {killed} ended the process by an exception"
        error = facts_of(raw_table([mutated(killed)]), careful=True)["error"][0].as_py()
        yield {"number": killed, "error": error, "peak": 0, "killed": True}
        first = killed + PROCESSES


@pytest.fixture(scope="module")
def found() -> list[dict[str, Any]]:
    with ThreadPoolExecutor(PROCESSES) as pool:
        return [outcome for part in pool.map(lambda first: list(outcomes(first)), range(PROCESSES)) for outcome in part]


def test_every_file_is_accounted_for(found: list[dict[str, Any]]) -> None:
    assert sorted(outcome["number"] for outcome in found) == list(range(FILES))
    assert {outcome["error"] for outcome in found} <= REASONS | {None, "crashed"}


def test_what_ends_a_process_is_a_crashed_row(found: list[dict[str, Any]]) -> None:
    assert {outcome["error"] for outcome in found if "killed" in outcome} <= {"crashed"}


def test_what_is_measured_can_be_rendered(found: list[dict[str, Any]]) -> None:
    assert {outcome["side"] for outcome in found if outcome["error"] is None} == {32}


def test_memory_stays_below_the_bound(found: list[dict[str, Any]]) -> None:
    assert max(outcome["peak"] for outcome in found) < PEAK


def test_damage_reaches_the_decoders(found: list[dict[str, Any]]) -> None:
    """Else the others say little: of each format many files still decode, many do not, and some are cut short."""
    assert len(whole_files()) > 40
    ended = Counter(outcome["error"] for outcome in found)
    assert ended[None] > 0.15 * FILES and ended["broken"] > 0.15 * FILES and ended["truncated"] > 0.03 * FILES
    decoded = Counter(outcome["format"] for outcome in found if outcome["error"] is None)
    assert min(decoded[name] for name in FORMATS) > 20
    assert sum(bool(outcome.get("truncated")) for outcome in found) > 50
    assert sum(bool(outcome.get("animated")) for outcome in found) > 50
