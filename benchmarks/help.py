"""`dsray --help`, a process from start to end: at most 0.3 s. Python's own start, importing nothing, beside it."""

import subprocess
import sys

from benchmarks import protocol

SECONDS = 0.3


def main() -> int:
    rounds = 7 if protocol.quick(__doc__) else 31

    def dsray() -> None:
        subprocess.run([sys.executable, "-m", "dsray", "--help"], check=True, stdout=subprocess.DEVNULL, timeout=60)

    def python() -> None:
        subprocess.run([sys.executable, "-c", "pass"], check=True, timeout=60)

    seconds, bare = protocol.medians(rounds, dsray, python)
    print(f"{seconds:.3f} s, of which Python's start is {bare:.3f} s")
    return protocol.verdict("help", seconds, SECONDS, SECONDS / seconds, 1.0, "s")


if __name__ == "__main__":
    sys.exit(main())
