"""The most memory that this process ever had. `ru_maxrss` is no answer: Linux lets a child begin with its parent's."""

from pathlib import Path


def peak() -> int:
    """Bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
