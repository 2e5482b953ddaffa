"""measure + render against Data-Juicer 1.6 on the same images: images per second.

Data-Juicer's default executor on as many processes as cores: image_shape_filter, image_aspect_ratio_filter and
image_blur_mapper, which decodes, blurs and saves a JPEG. It reads two facts, hashes nothing and keeps files. dsray does
more but for that blur: it computes all signals and the hash, encodes JPEG of the same size and quality (75, but with
whole colour), and writes facts, forms and samples as Parquet with digest, fsync and receipt. Data-Juicer's seconds are
its operators', as it says itself, without start and imports.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

from benchmarks import protocol
from benchmarks.data_plane import RENDER, Corpus, corpus, timed

AT_LEAST = 4
THEIRS = Path(__file__).parent.parent / ".venv" / "data-juicer-env" / "bin" / "dj-process"
NO_NETWORK = {"UV_OFFLINE": "1", "PIP_NO_INDEX": "1", "HF_HUB_OFFLINE": "1"}
"""Its operators install what they miss while they run: then it fails here, and `make bench` has to install it."""

_STEPS = [
    {"image_shape_filter": {"min_width": 16, "min_height": 16}},
    {"image_aspect_ratio_filter": {"min_ratio": 0.333, "max_ratio": 3.0}},
    {"image_blur_mapper": {"p": 1.0, "blur_type": "gaussian", "radius": 2}},
]


def as_files(lake: Corpus) -> Path:
    """The payloads as it wants them, files and a list; returns the configuration."""
    folder = lake.folder / "juicer"
    (folder / "images").mkdir(parents=True)
    listed = []
    for number, payload in enumerate(payload for part in lake.parts for payload in part):
        path = folder / "images" / f"{number}.jpg"
        path.write_bytes(payload)
        listed.append(json.dumps({"text": "<__dj__image>", "images": [str(path)]}) + "\n")
    (folder / "list.jsonl").write_text("".join(listed))
    paths = {"dataset_path": str(folder / "list.jsonl"), "export_path": str(folder / "out" / "out.jsonl")}
    said = {"project_name": "bench", **paths, "np": os.cpu_count(), "use_cache": False, "process": _STEPS}
    (folder / "config.yaml").write_text(json.dumps(said))  # JSON is YAML
    return folder / "config.yaml"


def operators(config: Path) -> float:
    """Runs it; the seconds that its operators took."""
    command = [str(THEIRS), "--config", str(config)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, env={**os.environ, **NO_NETWORK}, check=False
    )
    said = re.search(r"All OPs are done in ([\d.]+)s", done.stdout + done.stderr)
    if done.returncode or said is None:
        raise SystemExit(f"Data-Juicer failed: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
    shutil.rmtree(config.parent / "out")
    return float(said[1])


def main() -> int:
    images, a_shard = (1200, 100) if protocol.quick(__doc__) else (4000, 500)
    if not THEIRS.exists():
        print("Data-Juicer is not installed: `make bench` installs it.", file=sys.stderr)
        return 2
    with corpus(images, a_shard) as lake:
        dsray = partial(timed, lake, form={**RENDER, "quality": 75}, copies=None)
        juicer = partial(operators, as_files(lake))
        ours, theirs = (images / seconds for seconds in protocol.medians(5, dsray, juicer))
    print(f"{ours:.0f} images/s through measure and render, {theirs:.0f} by Data-Juicer; {os.cpu_count()} cores")
    return protocol.verdict("data_plane_juicer", ours, theirs, ours / theirs, AT_LEAST, "images/s")


if __name__ == "__main__":
    sys.exit(main())
