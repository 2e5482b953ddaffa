"""2,000 images with 300 planted defects of 15 kinds and 200 near-duplicates: what is found, what is not, and where."""

from collections import Counter

import pytest
import yaml

import corpus
from dsray import build
from dsray import recipe as recipes
from dsray.lake import shards
from runs import Silent, lake

RECIPE = {
    "dataset": "corpus",
    "collect": {"folder": {"files": {"path": "", "texts": {"place": "folder", "file": "path"}}}},
    "label": [{"column": {"name": "place"}}],
    "select": {"drop": corpus.DROP, "duplicates": {"exact": True, "radius": 10}},
    "render": {"side": 32},
}


@pytest.fixture(scope="module")
def selected(tmp_path_factory):
    """The corpus, and each file's verdict."""
    folder = tmp_path_factory.mktemp("corpus")
    planted = corpus.write(folder / "images")
    said = RECIPE | {
        "collect": {"folder": {"files": RECIPE["collect"]["folder"]["files"] | {"path": str(folder / "images")}}}
    }
    wanted = recipes.parse(yaml.safe_dump(said))
    with lake(folder / "lake") as store:
        made = build.run(wanted, store, Silent()).made
        rows = {}
        for raw, verdicts in zip(made["collect"].shards, made["select"].shards, strict=True):
            files = shards.read(store, raw, ["file"])["file"].to_pylist()
            rows |= dict(zip(files, shards.read(store, verdicts).to_pylist(), strict=True))
    return planted, rows, made


def test_what_goes_in_comes_out_or_is_in_quarantine(selected):
    planted, rows, made = selected
    assert len(rows) == made["select"].counts["in"] == 2000
    counts = made["select"].counts
    assert counts["in"] == counts["kept"] + counts["quarantined"]
    assert len(planted.broken) + sum(how == "same" for how in planted.how.values()) == 300


def test_rules_find_what_was_planted_and_little_else(selected):
    planted, rows, _ = selected
    found = {file: row["rule"] for file, row in rows.items() if row["rule"] not in (None, "near_duplicate")}
    expected = planted.broken | {file: "exact_duplicate" for file, how in planted.how.items() if how == "same"}
    for file, original in planted.near.items():  # which of two equal files stays, their ids say
        if expected.get(file) == "exact_duplicate" and file not in found and original in found:
            found[file] = found.pop(original)
    right = sum(found.get(file) == rule for file, rule in expected.items())
    wrong = {file: (expected.get(file), rule) for file, rule in found.items() if expected.get(file) != rule}
    print(f"{right} of {len(expected)} defects under their rule, {len(wrong)} rows under a wrong one")
    assert right / len(expected) >= 0.98, Counter(rule for file, rule in expected.items() if found.get(file) != rule)
    assert right / len(found) >= 0.98, wrong


def test_near_duplicates_are_found_and_nothing_else(selected):
    planted, rows, _ = selected
    pairs = {file: original for file, original in planted.near.items() if planted.how[file] != "same"}
    together = [rows[file]["cluster"] == rows[original]["cluster"] for file, original in pairs.items()]
    clusters: dict[str, set[str]] = {}
    for file, row in rows.items():
        clusters.setdefault(row["cluster"], set()).add(planted.near.get(file, file))
    false = sum(len(originals) - 1 for originals in clusters.values())
    missed = Counter(planted.how[file] for file, found in zip(pairs, together, strict=True) if not found)
    print(f"{sum(together)} of {len(pairs)} near-duplicates, {false} false; missed: {dict(missed)}")
    assert len(pairs) == 200
    assert sum(together) / len(pairs) >= 0.95, missed
    assert sum(together) / (sum(together) + false) >= 0.99
    for how in set(planted.how.values()) - {"same"}:
        assert missed[how] <= 0.1 * corpus.NEAR, how


def test_no_cluster_straddles_two_splits(selected):
    _, rows, _ = selected
    splits: dict[str, set[str]] = {}
    for row in rows.values():
        if row["split"]:
            splits.setdefault(row["cluster"], set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    assert {split for found in splits.values() for split in found} == {"train", "validation", "test"}
    kept = Counter(row["cluster"] for row in rows.values() if row["kept"])
    assert max(kept.values()) == 1, "of each cluster one stays"
