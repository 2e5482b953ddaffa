import io
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from dsray.report.card import Card, card, front_matter, size_category
from dsray.report.private import NOT_COVERED, Private
from dsray.schema import MEDIA

LABELS = ["cat", "dog: | big", "yes", "1e3"]
FEATURES: dict[str, dict[str, Any]] = {
    "id": {"dtype": "string", "_type": "Value"},
    "image": {"_type": "Image"},
    "label": {"names": LABELS, "_type": "ClassLabel"},
    "origin": {"dtype": "string", "_type": "Value"},
    "seed": {"dtype": "int64", "_type": "Value"},
}
DIGITS = Card(
    dataset="digits",
    version="v3",
    features=FEATURES,
    splits={"train": (11783, 4_000_000), "test": (487, 200_000)},
    rows={"train": {"real": 3892, "augmented": 3891, "gan": 4000}, "test": {"real": 487}},
    title="Handwritten digits",
    license="CC-BY-4.0",
    stages=[("collect", 5412, 5262, 150), ("select", 5262, 4865, 397)],
    quarantine={"robots": 30, "opted_out": 1, "blur": 41},
    thresholds={"blur": "min 15"},
    scores=[("gan", "usefulness", "0.981", "real 0.951", "at least 0.85", "n = 487")],
    path="s3://bucket/releases/digits/v3",
    limits=["Labels were not checked by people."],
)


def matter(text: str) -> dict[str, Any]:
    start, front, body = text.split("---\n", 2)
    assert start == "" and body.startswith("\n# ")
    found = yaml.safe_load(front)
    assert isinstance(found, dict)
    return found


def test_the_front_matter_reads_back_as_it_was_meant() -> None:
    found = matter(card(DIGITS))
    assert found == front_matter(DIGITS)
    assert found["license"] == "cc-by-4.0"
    assert found["size_categories"] == ["10K<n<100K"]
    assert found["configs"][0]["data_files"] == [
        {"split": "train", "path": "train/*.parquet"},
        {"split": "test", "path": "test/*.parquet"},
    ]
    assert found["dataset_info"]["splits"][0] == {"name": "train", "num_bytes": 4_000_000, "num_examples": 11783}


def test_hugging_face_reads_the_same_card(tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    loaded = hub.DatasetCard(card(DIGITS))
    assert loaded.data.pretty_name == "Handwritten digits"
    assert loaded.data.task_categories == ["image-classification"]
    assert loaded.data.to_dict()["dataset_info"] == front_matter(DIGITS)["dataset_info"]


LOAD = """
import sys, datasets
found = datasets.load_dataset(sys.argv[1], cache_dir=sys.argv[2])
names = found["train"].features["label"].names
print([(s, len(found[s])) for s in found], names, found["train"][1]["image"].size, found["train"][1]["label"])
print(datasets.Features.from_dict(eval(sys.argv[3]))._to_yaml_list() == eval(sys.argv[4]))
"""


def test_datasets_loads_a_folder_by_its_card(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    out = io.BytesIO()
    Image.fromarray(np.zeros((5, 7), np.uint8)).save(out, "PNG")
    sizes = {"train": 3, "test": 2}
    for split, rows in sizes.items():
        media, text = pa.array([{"bytes": out.getvalue(), "path": None}] * rows, MEDIA), pa.array(["x"] * rows)
        labels, seeds = pa.array([0, 3, 1][:rows]), pa.array([7] * rows)
        table = pa.table({"id": text, "image": media, "label": labels, "origin": text, "seed": seeds})
        (tmp_path / "release" / split).mkdir(parents=True)
        pq.write_table(table, tmp_path / "release" / split / "real-00000-of-00001.parquet")
    about = replace(DIGITS, splits={split: (rows, 1000) for split, rows in sizes.items()})
    (tmp_path / "release" / "README.md").write_text(card(about), encoding="utf-8")
    quiet = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home"), "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    described = front_matter(about)["dataset_info"]["features"]
    asked = [str(tmp_path / "release"), str(tmp_path / "cache"), repr(FEATURES), repr(described)]
    command = [sys.executable, "-c", LOAD, *asked]
    ran = subprocess.run(command, env=os.environ | quiet, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [f"[('train', 3), ('test', 2)] {LABELS} (7, 5) 3", "True"]


def test_every_number_is_told() -> None:
    text = card(DIGITS)
    for line in (
        "| train | 11,783 | 3,892 | 3,891 | 4,000 |",
        "| test | 487 | 487 | 0 | 0 |",
        "| collect | 5,412 | 5,262 | 150 |",
        "| blur | 41 | 0.8% | min 15 |",
        "| gan | usefulness | 0.981 | real 0.951 | at least 0.85 | n = 487 |",
        "- 30 rows were left out because robots.txt forbids fetching them.",
        "- 1 row was left out because they carry an opt-out signal.",
        "- Labels were not checked by people.",
        'dsray.load("digits@v3", split="train").pandas()',
        'pandas.read_parquet("s3://bucket/releases/digits/v3/train/")',
    ):
        assert line in text.splitlines(), line


def test_tables_have_as_many_cells_in_every_line() -> None:
    for about in (DIGITS, replace(DIGITS, thresholds={}), replace(DIGITS, stages=()), replace(DIGITS, rows={})):
        for block in card(about).split("\n\n"):
            if block.startswith("|"):
                assert len({line.count("|") for line in block.strip().splitlines()}) == 1, block


def test_a_card_of_real_rows_speaks_of_no_models() -> None:
    about = replace(DIGITS, rows={"train": {"real": 5}}, scores=(), quarantine={}, stages=(), license="", limits=())
    text = card(about)
    assert "ynthetic" not in text and "## How it was made" not in text
    assert "Nothing was dropped." in text
    assert "license" not in matter(text)


def test_an_accepted_release_says_what_failed_and_why_it_was_taken() -> None:
    about = replace(DIGITS, refused=["gan: usefulness is 0.400, the limit is min 0.85"], accepted="a smoke test")
    text = card(about)
    assert "- gan: usefulness is 0.400, the limit is min 0.85" in text.splitlines()
    assert "The reason given: a smoke test" in text
    assert "accepted although" not in card(DIGITS)


def test_a_model_that_learned_from_other_rows_says_so() -> None:
    words = "gan learned from the rows of an earlier build: 4 of 15 training rows (26.7 %) are not the same"
    assert f"- {words}\n" in card(replace(DIGITS, learned=[words]))
    assert "earlier build" not in card(DIGITS)


def test_a_private_model_says_what_it_spent_and_what_is_not_covered() -> None:
    text = card(replace(DIGITS, private=[Private("merf", 10.0, 1e-5, 0.6, "an exact accountant")]))
    promise = (
        "- merf: (10, 1e-05)-differential privacy, counted by an exact accountant. What it hides is one training row, "
    )
    assert f"{promise}added or removed." in text.splitlines()
    assert all(f"- {words}" in text for words in NOT_COVERED[:3])
    assert "## Privacy" not in card(DIGITS)


def test_hostile_text_stays_in_its_place() -> None:
    evil = 'a\n---\n# b | <script>alert(1)</script> [x](javascript:alert(1)) `c` "d"'
    about = replace(
        DIGITS, title=evil, license=evil, path=evil, quarantine={evil: 1}, thresholds={evil: evil},
        features=FEATURES | {"label": {"names": [evil], "_type": "ClassLabel"}}, scores=[(evil,) * 6], limits=[evil],
        accepted=evil, refused=[evil],
        private=[Private(evil, 1.0, 1e-5, 2.0, evil)], rows={"train": {evil: 1}},
    )  # fmt: skip
    text = card(about)
    front, body = text.removeprefix("---\n").split("\n---\n", 1)
    assert yaml.safe_load(front)["dataset_info"]["features"][2]["dtype"]["class_label"]["names"] == {"0": evil}
    assert yaml.safe_load(front)["license"] == "other"
    before, code, after = body.split("```")
    assert "<script" not in body and not re.search(r"(?<!\\)\]\(", before + after)
    assert code.count('"') == 10  # five strings, as ever
    headings = [line for line in body.splitlines() if line.startswith("#")]
    assert len(headings) == 1 + 7  # the title and the seven sections


@pytest.mark.parametrize(
    ("rows", "name"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (12_757, "10K<n<100K"), (10**6, "1M<n<10M"), (10**12, "1B<n<10B")],
)
def test_size_categories(rows: int, name: str) -> None:
    assert size_category(rows) == name
