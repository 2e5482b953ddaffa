"""The wheel alone, in an empty folder outside any checkout, does what the checkout does."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(target), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    (built,) = target.glob("*.whl")
    return built


def test_the_wheel_brings_all_that_runs(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in ("dsray/cli.py", "dsray/py.typed", "dsray/recipes/digits.yaml", "crawlers/fetch.py", "jobs/build.py",
                 "dsray/report/page.html.j2", "dsray/report/page.css", "dsray/report/card.md.j2"):  # fmt: skip
        assert name in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]


def test_the_demo_of_the_wheel_runs_in_an_empty_folder(wheel, tmp_path):
    """A small gallery, models left out of the recipe that the demo wrote; the full one is test_demo's."""
    installed, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    zipfile.ZipFile(wheel).extractall(installed)
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    environment.pop("RAY_ADDRESS", None)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "dsray", *words], cwd=empty, env=environment, capture_output=True,
                              text=True, timeout=300, check=False)  # fmt: skip

    where = subprocess.run([sys.executable, "-c", "import dsray; print(dsray.__file__)"], cwd=empty, env=environment,
                           capture_output=True, text=True, check=True).stdout  # fmt: skip
    assert where.startswith(str(installed))
    shipped = (installed / "dsray" / "recipes" / "digits.yaml").read_text()
    (empty / "digits.yaml").write_text(shipped.split("synthesize:")[0] + "release:" + shipped.split("release:")[1])
    done = run("demo", "--limit", "200")
    assert done.returncode == 0, done.stderr
    assert "digits@v1" in done.stdout and (empty / ".dsray" / "reports" / "digits-v1.html").exists()
    again = run("demo", "--limit", "200")
    assert again.returncode == 0 and "Everything is up to date" in again.stdout
    exported = run("export", "digits")
    assert exported.returncode == 0 and list((empty / "digits-v1" / "train").glob("real-*.parquet"))
