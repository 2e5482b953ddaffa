"""`python -m benchmarks [--quick] [--record] [names]`: every figure in a process of its own, then one table.

--record adds the table, with date and machine, to benchmarks/RESULTS.md.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BASELINES = HERE.parent / ".venv" / "bench-env"
"""An environment with the optional baselines, made by `make bench`."""
BASELINED = ("augment", "data_plane_ray")
"""The figures that need it; the others see our own packages only."""
PARTS = (
    "__init__", "__main__", "cifar", "generative_pythae", "gpu", "gpu_rates", "mnist", "protocol", "scale", "server",
    "simulated", "slow_wire",
)  # fmt: skip
FIGURES = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in PARTS)


def measure(name: str, quick: bool) -> dict[str, Any]:
    """One figure: the JSON of its last line, and its exit code (0 holds, 1 falls short, 2 lacks its baseline)."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *(["--quick"] if quick else [])]
    paths = [str(HERE.parent), *(baseline_packages() if name in BASELINED else [])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=7200, check=False)
    lines = done.stdout.strip().splitlines()
    try:
        figure: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        figure = {"name": name, "error": (done.stderr.strip().splitlines() or lines or ["no output"])[-1]}
    return {**figure, "code": done.returncode, "words": lines[-2] if len(lines) > 1 else ""}


def baseline_packages() -> list[str]:
    """Where the optional baselines are installed."""
    return [str(path.resolve()) for path in BASELINES.glob("lib/python*/site-packages")]


def table(figures: list[dict[str, Any]]) -> str:
    """The figures as Markdown."""
    lines = ["| figure | dsray | baseline | ratio | at least | |", "|---|---|---|---|---|---|"]
    for figure in figures:
        if "error" in figure:
            lines.append(f"| {figure['name']} | | | | | {figure['error']} |")
            continue
        holds = "holds" if figure["code"] == 0 else "**falls short**"
        lines.append(
            f"| {figure['name']} | {figure['value']:g} {figure['unit']} | {figure['baseline']:g} {figure['unit']} "
            f"| {figure['ratio']:.2f} | {figure['at_least']:g} | {holds}: {figure['words']} |"
        )
    return "\n".join(lines)


def machine() -> str:
    """Processor, cores and Python."""
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        if info.exists()
        else []
    )
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=FIGURES, help=f"of: {', '.join(FIGURES)}")
    parser.add_argument("--quick", action="store_true", help="each under a minute")
    parser.add_argument("--record", action="store_true", help="add the table to RESULTS.md")
    options = parser.parse_args()
    figures = []
    for name in options.names:
        figures.append(measure(name, options.quick))
        print(table(figures[-1:]).splitlines()[-1], flush=True)
    if options.record:
        sizes = "quick sizes" if options.quick else "full sizes"
        with (HERE / "RESULTS.md").open("a") as file:
            file.write(f"\n## {date.today()} · {machine()} · {sizes}\n\n{table(figures)}\n")
    return int(max(figure["code"] for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
