"""A build with nothing to do: at most 2 s on the embedded S3 lake, its server's start included, without Ray.

The baseline is the limit; the same on a file lake is printed beside it.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import protocol
from dsray.demo import recipe as demo
from dsray.demo import site

SECONDS = 2.0


def run(folder: Path, *words: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("DSRAY_LAKE", "RAY_ADDRESS")}
    command = [sys.executable, "-X", "importtime", "-m", "dsray", "run", "digits.yaml", *words]
    done = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)
    return done.stdout + done.stderr


def main() -> int:
    quick = protocol.quick(__doc__)
    with tempfile.TemporaryDirectory(prefix="dsray-rebuild-") as name, site.serve(0, 200 if quick else 2000) as url:
        folder = Path(name)
        text = demo.text().replace(f"http://127.0.0.1:{demo.PORT}/", url)
        (folder / "digits.yaml").write_text(text.split("synthesize:")[0] + "release:" + text.split("release:")[1])
        files = ("--lake", f"file://{folder / 'files'}")
        for lake in ((), files):
            run(folder, *lake)
        again = run(folder)
        if "Everything is up to date" not in again or " ray\n" in again:
            raise SystemExit("the second run had something to do, or imported Ray")
        s3, plain = protocol.medians(
            5 if quick else 15, lambda: run(folder) and None, lambda: run(folder, *files) and None
        )
    print(f"nothing to do: {s3:.2f} s on the embedded S3 lake, {plain:.2f} s on a file lake")
    return protocol.verdict("rebuild", s3, SECONDS, SECONDS / s3, 1.0, "s")


if __name__ == "__main__":
    sys.exit(main())
