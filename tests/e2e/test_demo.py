"""The demo, whole, as a user runs it: every stage on real input, useful models, and nothing to do after."""

import json
import shutil
import subprocess
from pathlib import Path
from statistics import fmean

import pyarrow.parquet as pq
import pytest

from dsray.demo.gallery import gallery
from dsray.errors import GateError
from runs import dsray, said

ROWS = 2000
"""Synthetic rows of each model, as the recipe asks."""

pytestmark = [pytest.mark.alone, pytest.mark.timeout(1200)]  # the demo is the first setup: 6 minutes on slow cores


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> tuple[Path, str]:
    """(folder, what was printed) of one `dsray demo` on a free port."""
    import socket

    folder = tmp_path_factory.mktemp("demo")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    done = dsray("demo", "--port", str(port), cwd=folder, timeout=900)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


@pytest.fixture(scope="module")
def release(demo) -> Path:
    folder, _ = demo
    done = dsray("export", "digits@v1", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "digits-v1"


def test_the_table_says_what_became_of_every_row(demo, release):
    _, printed = demo
    manifest = json.loads((release / "manifest.json").read_text())
    assert manifest["rows_in"] == manifest["stages"]["gather"]["counts"]["kept"] + sum(manifest["quarantine"].values())
    for word in (
        *manifest["quarantine"],
        "rows in",
        "kept",
        "augmented",
        "synthetic, gan",
        "usefulness, vae",
        "release",
        "report",
    ):
        assert word in printed
    assert set(manifest["quarantine"]) == set(gallery(None).plan.values())


@pytest.mark.parametrize("model", ["gan", "vae"])
def test_synthetic_rows_are_useful_and_no_copies(release, model):
    manifest = json.loads((release / "manifest.json").read_text())
    score = manifest["scores"][model]
    use = score["usefulness"]
    assert use["rows_synthetic"] == ROWS and len(use["real"]) >= 3
    assert use["ratio"] >= 0.85
    real, both = fmean(use["real"]), fmean(use["both"])
    noise = 2 * (real * (1 - real) / manifest["rows"]["test"]["real"]) ** 0.5  # two standard errors of an accuracy
    assert both >= real - noise
    copies = score["copies"]
    assert copies["share"] <= 0.02 and copies["control_detected"] >= 0.9 * copies["control_planted"] > 0
    assert score["distance"]["distance"] > 0 and score["distance"]["floor"] > 0 and score["distance"]["n"] > 400


@pytest.mark.parametrize("model", ["gan", "vae"])
def test_each_synthetic_row_names_model_seed_and_index(release, model):
    manifest = json.loads((release / "manifest.json").read_text())
    tables = [pq.read_table(path) for path in sorted((release / "train").glob(f"{model}-*.parquet"))]
    rows = [
        row for table in tables for row in table.select(["origin", "model", "seed", "index", "label", "id"]).to_pylist()
    ]
    assert len(rows) == ROWS and {row["origin"] for row in rows} == {"synthetic"}
    assert sorted(row["index"] for row in rows) == list(range(ROWS))
    assert {row["seed"] for row in rows} == {manifest["recipe"]["seed"]} and len({row["model"] for row in rows}) == 1
    assert len({row["id"] for row in rows}) == ROWS


def test_the_report_shows_both_models(release):
    page = (release / "report.html").read_text()
    for word in ("gan", "vae", "near_duplicate", "usefulness", "real against real"):
        assert word in page


def test_a_second_run_has_nothing_to_do(demo):
    folder, _ = demo
    again = dsray("demo", cwd=folder, PYTHONPROFILEIMPORTTIME="1")
    assert again.returncode == 0, again.stderr
    assert "Everything is up to date: digits@v1" in again.stdout and "gallery" not in again.stdout
    imported = {line.rsplit("|", 1)[-1].strip() for line in again.stderr.splitlines() if line.startswith("import time")}
    assert not imported & {"ray", "torch", "scrapy"}


def test_a_gate_that_fails_names_the_number_and_the_next_run_goes_on(demo, tmp_path):
    shutil.copytree(demo[0], tmp_path / "again")
    recipe = tmp_path / "again" / "digits.yaml"
    text = recipe.read_text()
    assert "usefulness: {min: 0.85}" in text
    recipe.write_text(text.replace("usefulness: {min: 0.85}", "usefulness: {min: 0.999}"))
    line = said(dsray("run", recipe, cwd=recipe.parent), GateError.exit_code)
    assert "The release is refused: " in line and "usefulness is 0." in line and "min 0.999" in line
    recipe.write_text(text.replace("usefulness: {min: 0.85}", "usefulness: {min: 0.5}"))
    again = dsray("run", recipe, cwd=recipe.parent)
    assert again.returncode == 0, again.stderr
    assert "digits@v2" in again.stdout
    reused = {" ".join(line.split()[:2]) for line in again.stdout.splitlines() if line.rstrip().endswith("up to date")}
    assert {"train gan", "train vae", "evaluate usefulness"} <= reused


def test_nothing_is_left_running(demo):
    folder, _ = demo
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(folder) not in processes
