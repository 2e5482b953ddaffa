"""Whole runs in processes of their own, whom to kill of them, and whether they are gone."""

import os
import subprocess
import sys
from pathlib import Path

import psutil

from runs import busy


def start(recipe: Path, *arguments: str, errors: Path | None = None, **environment: str) -> subprocess.Popen[bytes]:
    """`dsray run` in the recipe's folder; what it says on stderr goes to the file `errors`."""
    with (errors or Path(os.devnull)).open("wb") as heard:
        return subprocess.Popen(
            [sys.executable, "-m", "dsray", "run", str(recipe), *arguments], env={**os.environ, **environment},
            cwd=recipe.parent, stdout=subprocess.DEVNULL, stderr=heard, start_new_session=True,
        )  # fmt: skip


def family(process: psutil.Process) -> list[psutil.Process]:
    """A process and all below it, but for Ray's own agents: those look for their raylet once a minute."""
    try:
        return [p for p in (process, *process.children(recursive=True)) if "agent" not in line_of(p).lower()]
    except psutil.NoSuchProcess:
        return []


def line_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def gone(processes: list[psutil.Process], seconds: float) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return not [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def is_busy_worker(process: psutil.Process) -> bool:
    """A Ray worker in a task of ours, or the crawl's child."""
    line = line_of(process)
    return "crawlers.fetch" in line or busy(line)


def victims(driver: psutil.Process, kind: str) -> list[psutil.Process]:
    """Who of a run is a `driver`, `worker`, `raylet`, `server` (SeaweedFS) or `keeper` (who owns it)."""
    if kind == "driver":
        return [driver]
    found = driver.children(recursive=True)  # not `family`: a raylet's command line names its agents
    if kind == "worker":
        return [p for p in found if is_busy_worker(p)]
    known = {"raylet": "/raylet/raylet ", "server": " mini -dir=", "keeper": "keeper.py"}[kind]
    return [p for p in found if known in line_of(p)]
