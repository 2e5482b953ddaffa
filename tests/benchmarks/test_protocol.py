"""benchmarks: every figure keeps the protocol, so that `make bench` can read it."""

import importlib
import json
import subprocess
import sys

import pytest

from benchmarks import protocol
from benchmarks.__main__ import FIGURES, table


@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_is_a_documented_program(name):
    module = importlib.import_module(f"benchmarks.{name}")
    assert callable(module.main) and module.__doc__


def test_the_cheapest_figure_prints_one_line_of_json():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.help", "--quick"], capture_output=True, text=True, check=False
    )
    figure = json.loads(done.stdout.splitlines()[-1])
    assert set(figure) == {"name", "value", "baseline", "ratio", "at_least", "unit"}
    assert done.returncode == int(figure["ratio"] < figure["at_least"])
    assert figure["name"] in table([{**figure, "code": done.returncode, "words": ""}])


def test_a_figure_that_falls_short_says_so(capsys):
    assert protocol.verdict("x", 1, 2, 0.5, 0.9, "s") == 1
    assert protocol.verdict("x", 2, 2, 1.0, 0.9, "s") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])["ratio"] == 0.5


def test_sides_take_turns_and_the_first_round_does_not_count():
    calls: list[str] = []

    def side(name: str, values: list[float]):
        return lambda: calls.append(name) or values.pop(0)

    assert protocol.medians(3, side("a", [99, 1, 2, 3]), side("b", [99, 5, 5, 7])) == [2, 5]
    assert "".join(calls) == "abababab"
