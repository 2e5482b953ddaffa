"""docs/kinds.md from outside the package: its code, in a folder of its own, run as a user runs it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import dsray as api
from dsray.kinds import kind
from dsray.stages.augment import again
from rows import drawing, png
from runs import dsray, said

BLOCK = re.compile(r"^```(?:python|yaml)\n# (\S+)\n(.*?)^```$", re.M | re.S)
PHRASES = {
    "sea": ["The wide grey sea", "a small boat at noon", "salt on the wind", "gulls above the harbour wall"],
    "wood": ["the old oak tree", "moss and fern below", "a path in the dark wood", "owls call from the pines"],
}


@pytest.fixture(scope="module")
def outside(tmp_path_factory) -> Path:
    """A folder with every file that the page shows, and data for its recipes."""
    folder = tmp_path_factory.mktemp("outside")
    for name, text in BLOCK.findall(Path("docs/kinds.md").read_text()):
        (folder / name).write_text(text.replace("file:///tmp/lake", f"file://{folder}/lake"))
    for topic, phrases in PHRASES.items():
        (folder / "texts" / topic).mkdir(parents=True)
        for number in range(12):
            text = f"{phrases[number % 4]} number {number * 7919} of {number * 104729}"
            (folder / "texts" / topic / f"{number}.txt").write_text(text)
    (folder / "texts/sea/one.txt").write_text("alone")
    (folder / "texts/sea/none.txt").write_bytes(b"\xff\xfe\x00")
    (folder / "texts/wood/again.txt").write_text((folder / "texts/wood/0.txt").read_text())
    for label, count in (("7", 6), ("1", 24)):
        (folder / "pictures" / label).mkdir(parents=True)
        for number in range(count):
            grain = np.random.default_rng(number).integers(0, 16, (40, 40), np.uint8)
            picture = np.maximum(drawing(100 * int(label) + number, 40), grain)
            (folder / "pictures" / label / f"{number}.png").write_bytes(png(picture))
    (folder / "pictures/1/flat.png").write_bytes(png(np.full((40, 40), 90, np.uint8)))
    return folder


SCRIPT = "import sys; sys.path = sys.path[1:]; from dsray.cli import main; raise SystemExit(main())"
"""As the console script that pip installs: its path lacks the folder where it is called."""


def ran(recipe: Path, outside: Path, cwd: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, "run", recipe, "--lake", f"file://{outside}/lake", "--cpus", "2"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.fixture(scope="module")
def phrases(outside, tmp_path_factory) -> Path:
    """Run from elsewhere: the modules lie beside the recipe."""
    recipe = outside / "there.yaml"
    recipe.write_text((outside / "phrases.yaml").read_text().replace("path: texts", f"path: {outside / 'texts'}"))
    ran(recipe, outside, tmp_path_factory.mktemp("elsewhere"))
    return outside / "lake/releases/phrases/v1"


@pytest.fixture(scope="module")
def pictures(outside, tmp_path_factory) -> Path:
    """Run where the modules lie: the recipe is elsewhere."""
    recipe = tmp_path_factory.mktemp("recipes") / "pictures.yaml"
    recipe.write_text((outside / "pictures.yaml").read_text())
    ran(recipe, outside, outside)
    return outside / "lake/releases/pictures/v1"


def test_a_kind_from_outside_goes_the_whole_way(phrases):
    manifest = json.loads((phrases / "manifest.json").read_text())
    assert manifest["kind"] == "words" and manifest["classes"] == ["sea", "wood"]
    assert manifest["rows_in"] == 27
    assert manifest["quarantine"] == {"undecodable": 1, "min_words": 1, "exact_duplicate": 1}
    frame = pd.read_parquet(phrases / "train")
    real, made = frame[frame["origin"] == "real"], frame[frame["origin"] == "augmented"]
    assert len(made) == 2 * len(real) > 0
    texts = real.set_index("id")["text"]
    for _, row in made.iterrows():
        assert sorted(row["text"]["bytes"].split()) == sorted(texts[row["parent"]]["bytes"].split())
    assert any(row["text"]["bytes"] != texts[row["parent"]]["bytes"] for _, row in made.iterrows())


def test_what_a_reader_of_it_does_works(outside, phrases, monkeypatch):
    done = subprocess.run([sys.executable, "read.py"], cwd=outside, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "augmented" in done.stdout, done.stderr
    monkeypatch.syspath_prepend(str(outside))
    data = api.load("phrases", lake=f"file://{outside}/lake")
    arrays, labels = data.torch()[:]
    assert arrays.shape[1:] == (1, 64) and set(labels.tolist()) == {0, 1}
    assert set(data.hf()[0]["text"]) == {"bytes", "path"}


def test_a_signal_of_ones_own_decides_and_is_shown(pictures):
    manifest = json.loads((pictures / "manifest.json").read_text())
    assert manifest["quarantine"]["edges"] == 1
    assert "edges" in (pictures / "report.html").read_text()


def test_classes_come_out_about_even_and_every_copy_can_be_made_again(outside, pictures, monkeypatch):
    monkeypatch.syspath_prepend(str(outside))
    frame = pd.read_parquet(pictures / "train")
    classes = json.loads((pictures / "manifest.json").read_text())["classes"]
    real, made = frame[frame["origin"] == "real"], frame[frame["origin"] == "augmented"]
    copies = made.groupby("parent").size()
    assert set(copies[real[real["label"] == classes.index("7")]["id"]]) == {3}
    assert set(copies[real[real["label"] == classes.index("1")]["id"]]) == {1}
    parents = real.set_index("id")["image"]
    for _, row in made.iterrows():
        transform = json.loads(row["transform"])
        assert transform["own"][0]["options"] == {"most": 2}
        assert again(kind("image"), transform, (parents[row["parent"]]["bytes"], []))[0] == row["image"]["bytes"]


def test_the_column_of_tensors_is_the_loader_is_the_formula(outside, pictures, tmp_path):
    import datasets
    import duckdb

    manifest = json.loads((pictures / "manifest.json").read_text())
    data = api.load("pictures", split="train", lake=f"file://{outside}/lake")
    frame = data.pandas()
    bytes_N = kind("image").to_arrays([image["bytes"] for image in frame["image"]]).astype(np.float64)
    real_N = bytes_N[(frame["origin"] == "real").to_numpy()]
    assert manifest["mean"][0] == pytest.approx(real_N.mean(), rel=1e-12)
    assert manifest["std"][0] == pytest.approx(real_N.std(), rel=1e-12)
    formula = ((bytes_N - manifest["mean"]) / manifest["std"]).astype(np.float32).transpose(0, 3, 1, 2)
    column = np.array(data.arrow()["tensor"].to_pylist(), np.float32)
    assert np.array_equal(column, formula)
    assert np.array_equal(data.torch().tensors[0].numpy(), formula)
    files = str(pictures / "train/*.parquet")
    hub = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path))["train"].with_format("numpy")
    for found in (hub, data.hf().with_format("numpy")):
        row = next(row for row in found if row["id"] == frame["id"][0])
        assert row["tensor"].shape == (1, 32, 32) and np.array_equal(row["tensor"], formula[0])
    total = duckdb.sql(f"select sum(list_sum(flatten(flatten(tensor)))) from '{files}'").fetchall()
    assert total[0][0] == pytest.approx(formula.sum(dtype=np.float64), abs=1e-2)
    shards = list(pictures.glob("*/*.parquet"))  # which splits there are is a matter of the folder's name
    assert shards and all({"tensor", "image"} <= set(pq.read_schema(shard).names) for shard in shards)


def test_a_changed_module_makes_its_steps_again_and_no_others(outside, pictures, tmp_path):
    steps = outside / "my_steps.py"
    before = steps.read_text()
    steps.write_text(before.replace("level: int = 255", "level: int = 254"))
    try:
        done = dsray("plan", "pictures.yaml", "--lake", f"file://{outside}/lake", cwd=outside)
        words = {line.split()[0]: line.split()[1] for line in done.stdout.splitlines() if line.strip()}
        assert {words[name] for name in ("collect", "measure", "render", "label", "select", "gather")} == {"up"}
        assert words["augment"] == "make" and "code.my_steps:streaks" in done.stdout
    finally:
        steps.write_text(before)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("my_steps:streaks", "my_stepz:streaks"), "No module named 'my_stepz'"),
        (("my_steps:streaks", "my_steps:streakz"), "no attribute 'streakz'"),
        (("edges: {min: 3}", "edgez: {min: 3}"), "did you mean `edges`?"),
        (("kind: words", "kind: wordz"), "there is no kind 'wordz'"),
        (("kind: words", "kind: my_steps"), "the module 'my_steps' is no kind: it lacks"),
    ],
)
def test_a_wrong_name_is_one_sentence(outside, tmp_path, change, words):
    text = (outside / ("phrases.yaml" if "kind" in change[0] else "pictures.yaml")).read_text()
    assert change[0] in text
    (outside / "wrong.yaml").write_text(text.replace(*change))
    assert words in said(dsray("run", "wrong.yaml", "--lake", f"file://{tmp_path}/lake", cwd=outside), 2)


def test_models_draw_images_only(outside, tmp_path):
    (outside / "drawn.yaml").write_text((outside / "phrases.yaml").read_text() + "synthesize: {gan: {rows: 10}}\n")
    assert "draws images" in said(dsray("run", "drawn.yaml", "--lake", f"file://{tmp_path}/lake", cwd=outside), 2)
