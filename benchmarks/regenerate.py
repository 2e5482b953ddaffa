"""What building again costs: with one of 100 raw shards changed, with nothing changed, and with up to 100,000 shards.

1. One of 100 archives of photos is another: the stages before training may take 3 % of a full build's time and the
   fixed start-up, which is the time of a build of one photo. All three in turn, on a file lake and one Ray session.
2. Nothing changed, on that lake: a process from start to end in at most 2 s, Ray not started.
3. Planning with 10,000 shards, of which 100 changed, in at most 5 s.
4. A shard costs no more with 100,000 shards than with 10,000, but for noise: at most 1.5 times as much.

3 and 4 run over a simulated store, which holds manifests and the names of shards.
--quick has 15 photos an archive instead of 150, and ends at 10,000 shards: growth is then from 1,000.
"""

import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from functools import partial
from pathlib import Path

from benchmarks import protocol
from benchmarks.data_plane import SIDE, photo
from benchmarks.scale import Quiet, scale
from dsray import build, recipe
from dsray.lake.manifests import Manifest
from dsray.lake.store import open_store

ARCHIVES = 100
SHARE, UP_TO_DATE_S, PLANNING_S, GROWTH = 0.03, 2.0, 5.0, 1.5
HEAVY = {"ray", "torch", "scrapy"}
RECIPE = """dataset: photos
collect: {{archives: {{files: {{path: {folder}, include: ["*.zip"]}}}}}}
select: {{drop: {{unlabelled: false}}}}
render: {{side: {side}, mode: RGB, format: jpeg}}
augment: {{copies: 1, rotate: 12, scale: [0.9, 1.1], translate: 0.08, noise: 0.03}}
"""


class Times(Quiet):
    """A listener that keeps the seconds of each step that was made."""

    def __init__(self) -> None:
        self.made: dict[str, float] = {}

    def finished(self, step: str, manifest: Manifest, seconds: float, reused: bool) -> None:
        if not reused:
            self.made[step] = seconds


def archive(path: Path, photos: range) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for number in photos:
            file.writestr(zipfile.ZipInfo(f"{number:06d}.jpg"), photo(number))
    path.write_bytes(out.getvalue())


class Photos:
    """A folder of archives, one of one photo beside it, and a file lake each."""

    def __init__(self, folder: Path, each: int) -> None:
        self.folder, self.each = folder, each
        for name in ("many", "one"):
            (folder / name).mkdir()
            text = RECIPE.format(folder=folder / name, side=SIDE)
            (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
        for number in range(ARCHIVES):
            archive(folder / "many" / f"{number:03d}.zip", range(number * each, (number + 1) * each))
        archive(folder / "one" / "0.zip", range(1))
        self.turn = 0
        self.parts: dict[str, dict[str, float]] = {}

    def lake(self, name: str) -> str:
        return f"file://{self.folder / 'lakes' / name}"

    def build(self, name: str, kept: str = "", recrawl: str | None = None) -> float:
        """Seconds of the stages before training; what follows runs too, and its time is kept beside."""
        store = open_store(self.lake(kept or name))
        times, wanted = Times(), recipe.load(self.folder / f"{name}.yaml")
        start = time.perf_counter()
        build.run(wanted, store, times, recrawl=recrawl, until="augment")
        seconds = time.perf_counter() - start
        build.run(wanted, store, times)
        self.parts["changed" if recrawl else name] = times.made
        return seconds

    def fresh(self, name: str) -> float:
        shutil.rmtree(self.folder / "lakes" / name, ignore_errors=True)
        return self.build(name)

    def changed(self) -> float:
        """One archive is another, each time it is asked."""
        self.turn += 1
        first = 10_000_000 + self.turn * self.each
        archive(self.folder / "many" / "042.zip", range(first, first + self.each))
        return self.build("many", recrawl="all")


def again(photos: Photos, *options: str) -> subprocess.CompletedProcess[str]:
    """`dsray run` with nothing left to do, a process of its own."""
    command = [sys.executable, *options, "-m", "dsray", "run", "many.yaml", "--lake", photos.lake("many")]
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, cwd=photos.folder, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )
    if "Everything is up to date" not in done.stdout:
        raise SystemExit(f"dsray run failed: {done.stderr[-2000:]}")
    return done


def rebuild(each: int, rounds: int) -> tuple[dict[str, float], set[str], Photos]:
    """Medians of a full build, of one with a changed archive, of one photo, and of one with nothing to do; and what the
    last imports though it should not."""
    from dsray.engine.connect import connected

    with tempfile.TemporaryDirectory(prefix="dsray-bench-") as name:
        photos = Photos(Path(name), each)
        with connected():
            sides = [partial(photos.fresh, "many"), photos.changed, partial(photos.fresh, "one")]
            full, changed, one = protocol.medians(rounds, *sides)
        (nothing,) = protocol.medians(5, lambda: again(photos) and None)
        lines = again(photos, "-X", "importtime").stderr.splitlines()
    heavy = HEAVY & {line.rsplit("|", 1)[-1].strip() for line in lines if line.startswith("import time")}
    return {"full": full, "changed": changed, "one": one, "nothing": nothing}, heavy, photos


def main() -> int:
    quick = protocol.quick(__doc__)
    spent, heavy, photos = rebuild(15 if quick else 150, 1 if quick else 3)
    for name, parts in photos.parts.items():
        print(f"{name:<8}" + " · ".join(f"{step} {seconds:.2f} s" for step, seconds in parts.items()))
    counts = [100, 1000, 10_000] if quick else [100, 1000, 10_000, 100_000]
    found = {count: scale(count) for count in counts}
    for count, (plan, nothing) in found.items():
        print(f"{count:>8,} shards: planning {plan:.3f} s, nothing to do {nothing:.3f} s")
    most, before = counts[-1], counts[-2]
    growth = max(found[most][side] / most / (found[before][side] / before) for side in (0, 1))
    allowed = SHARE * spent["full"] + spent["one"]
    planning = found[10_000][0]
    ratios = [allowed / spent["changed"], UP_TO_DATE_S / spent["nothing"], PLANNING_S / planning, GROWTH / growth]
    if heavy:
        print(f"Nothing was left to do, but these were imported: {', '.join(sorted(heavy))}.")
    print(f"1 of {ARCHIVES} changed: {spent['changed']:.2f} s of {allowed:.2f} s allowed (full {spent['full']:.1f} s, "
          f"start-up {spent['one']:.2f} s); nothing changed: {spent['nothing']:.2f} s; planning with 10,000 shards: "
          f"{planning:.2f} s; a shard of {most:,} costs {growth:.2f} times one of {before:,}")  # fmt: skip
    return protocol.verdict("regenerate", spent["changed"], allowed, 0.0 if heavy else min(ratios), 1.0, "s")


if __name__ == "__main__":
    sys.exit(main())
