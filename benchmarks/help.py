"""`dsray --help` answers within 0.3 s. The baseline is the limit; Python's own start is printed beside it."""

import subprocess
import sys

from benchmarks import protocol

SECONDS = 0.3


def run(*words: str) -> None:
    subprocess.run([sys.executable, *words], check=True, capture_output=True)


def main() -> int:
    rounds = 5 if protocol.quick(__doc__) else 20
    ours, bare = protocol.medians(rounds, lambda: run("-m", "dsray", "--help"), lambda: run("-c", "pass"))
    print(f"dsray --help {ours:.3f} s, python -c pass {bare:.3f} s")
    return protocol.verdict("help", ours, SECONDS, SECONDS / ours, 1.0, "s")


if __name__ == "__main__":
    sys.exit(main())
