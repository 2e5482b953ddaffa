"""Labels with provenance, as whole runs: one edited label, a label model, and rows that go to people and come back."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from dsray import build, recipe
from dsray.errors import RecipeError
from dsray.labels import patterns
from dsray.labels.model import fit
from dsray.lake import shards
from rows import drawing, png
from runs import Silent, dsray, lake, said

SHARDS, EACH = 8, 6
CLASSES = ("cat", "dog")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Eight folders, a source and so a raw shard each, of pictures in folders named by class."""
    root = tmp_path_factory.mktemp("pictures")
    for at in range(SHARDS * EACH):
        path = root / f"s{at // EACH}" / CLASSES[at % 2] / f"{at}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(drawing(at, 40 + at)))
    return root


def wanted(root: Path, *labellers: dict, **more):
    sources = {f"s{at}": {"files": {"path": str(root / f"s{at}"), "texts": {"kind": "folder"}}} for at in range(SHARDS)}
    said = {
        "dataset": "pets",
        "collect": sources,
        "label": list(labellers),
        "render": {"side": 32, "mode": "L"},
        **more,
    }
    return recipe.model().model_validate(said)


def table(path: Path, said: dict[str, str]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *said.items()])


FOLDER = {"column": {"name": "kind"}}


def rows_of(store, manifest) -> list[dict]:
    return [row for receipt in manifest.shards for row in shards.read(store, receipt).to_pylist()]


def urls(store, made) -> dict[str, str]:
    """Row id → file name."""
    found = [shards.read(store, receipt, ["id", "url"]).to_pylist() for receipt in made["collect"].shards]
    return {row["id"]: row["url"].rpartition("/")[2] for part in found for row in part}


def changed(before, after) -> int:
    return sum(a.digest != b.digest for a, b in zip(before.shards, after.shards, strict=True))


def test_one_edited_label_makes_one_shard_again(ray_session, tmp_path: Path, pictures: Path):
    told = {f"{at}.png": CLASSES[at % 2] for at in range(SHARDS * EACH)} | {"nobody.png": "cat"}
    table(tmp_path / "labels.csv", told)
    asked = wanted(pictures, {"file": {"path": str(tmp_path / "labels.csv")}}, FOLDER)
    with lake(tmp_path / "lake") as store:
        first = build.run(asked, store, Silent()).made
        assert len(first["label"].shards) == SHARDS
        assert first["label"].details["files"]["file:labels.csv"] == {
            "labels": len(told), "matched": len(told) - 1, "unmatched": 1, "repeated": 0}  # fmt: skip
        table(tmp_path / "labels.csv", {**told, "20.png": "dog"})
        before = {entry.name for entry in store.list("shards/label/")}
        outcome = build.run(asked, store, Silent())
        second = outcome.made
        assert {"collect", "measure", "render"} <= outcome.reused
        assert len({entry.name for entry in store.list("shards/label/")} - before) == 1
        assert [changed(first[name], second[name]) for name in ("label", "select", "gather")] == [1, 1, 1]
        assert second["label"].details["conflicts"] == 1
        names = urls(store, second)
        edited = [row for row in rows_of(store, second["label"]) if names[row["id"]] == "20.png"]
        assert [(row["label"], row["agreement"]) for row in edited] == [("dog", 0.5)]
        table(tmp_path / "labels.csv", {**told, "20.png": "dog", "somebody.png": "cat"})
        assert changed(second["label"], build.run(asked, store, Silent()).made["label"]) == 0


def test_a_label_model_learns_from_all_shards_who_is_right(ray_session, tmp_path: Path, pictures: Path):
    random = np.random.default_rng(1)
    files = []
    for name, wrong in (("good", 0.0), ("fine", 0.05), ("fair", 0.1), ("bad", 0.45), ("poor", 0.45)):
        flips = random.random(SHARDS * EACH) < wrong
        table(tmp_path / f"{name}.csv", {f"{at}.png": CLASSES[(at + flips[at]) % 2] for at in range(SHARDS * EACH)})
        files.append({"name": name, "file": {"path": str(tmp_path / f"{name}.csv")}})
    with lake(tmp_path / "lake") as store:
        made = build.run(wanted(pictures, *files[::-1], combine="model"), store, Silent(), until="label").made
        details, rows = made["label"].details, rows_of(store, made["label"])
        names = urls(store, made)
    counted = patterns.count(pa_votes(rows))
    model = fit(counted)
    assert {name: details["sources"][name]["accuracy"] for name in model.accuracy} == model.accuracy
    assert list(details["sources"]) == ["poor", "bad", "fair", "fine", "good"] and details["prior"] == model.prior
    assert model.accuracy["good"] > model.accuracy["bad"] + 0.2
    right = [row["label"] == CLASSES[int(names[row["id"]].split(".")[0]) % 2] for row in rows]
    assert np.mean(right) >= 0.95 and details["labelled"] == len(rows)


def test_rules_see_facts_and_payloads_and_their_failures_stop_nothing(ray_session, tmp_path: Path, pictures: Path):
    rules = [
        {"rule": {"function": f"labellers:{name}", "media": name == "heavy"}} for name in ("odd", "bright", "heavy")
    ]
    with lake(tmp_path / "lake") as store:
        made = build.run(wanted(pictures, *rules, combine="majority"), store, Silent(), until="label").made
        rows, facts = rows_of(store, made["label"]), rows_of(store, made["measure"])
    details = made["label"].details
    assert details["failed"] == {"rule:labellers:odd": {"KeyError": SHARDS * EACH}}, "there is no caption"
    assert [details["sources"][f"rule:labellers:{name}"]["coverage"] for name in ("odd", "bright", "heavy")] == [
        0,
        1,
        1,
    ]
    for row, fact in zip(rows, facts, strict=True):
        assert row["votes"][0]["label"] == ("bright" if fact["brightness"] > 40 else "dark")
    assert details["conflicts"] == len(rows) and {row["agreement"] for row in rows} == {0.5}


def pa_votes(rows: list[dict]):
    import pyarrow as pa

    from dsray.schema import LABELS

    return pa.chunked_array([[row["votes"] for row in rows]], LABELS.field("votes").type)


def test_rows_go_to_people_and_come_back(ray_session, tmp_path: Path, pictures: Path):
    table(tmp_path / "guess.csv", {"0.png": "dog", "9.png": "cat", "3.png": "dog"})
    guess = {"name": "guess", "file": {"path": str(tmp_path / "guess.csv")}}
    asked = wanted(pictures, guess, FOLDER)
    path = tmp_path / "pets.yaml"
    path.write_text(json.dumps(asked.model_dump(mode="json", exclude_none=True)))
    folder = f"file://{tmp_path / 'lake'}"
    with lake(tmp_path / "lake") as store:
        missing = dsray("label", path, "--out", tmp_path / "early", "--lake", folder, cwd=tmp_path)
        assert "not made yet" in said(missing, RecipeError.exit_code)
        made = build.run(asked, store, Silent(), until="label").made
        names = urls(store, made)
        ids = {name: row for row, name in names.items()}

        done = dsray("label", path, "--out", "out", "--rows", "5", "--by", "conflict", "--lake", folder, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        tasks = json.loads((tmp_path / "out/tasks.json").read_text())
        assert {names[task["data"]["id"]] for task in tasks} == {"0.png", "9.png"}
        for task in tasks:
            media = tmp_path / "out" / task["data"]["image"].partition("=")[2]
            assert media.read_bytes() == next(pictures.rglob(names[task["data"]["id"]])).read_bytes()
            assert [p["model_version"] for p in task["predictions"]] == ["dsray", "guess", "column:kind"]
        again = dsray("label", path, "--out", "out", "--lake", folder, cwd=tmp_path)
        assert "is there already" in said(again, RecipeError.exit_code)

        region = {"type": "rectanglelabels", "original_width": 40, "original_height": 40, "from_name": "box",
                  "to_name": "image", "value": {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0,
                                                "rectanglelabels": ["face"]}}  # fmt: skip
        choice = {"type": "choices", "from_name": "label", "to_name": "image", "value": {"choices": ["cat"]}}
        first = next(task for task in tasks if task["data"]["id"] == ids["0.png"])
        first["annotations"] = [{"completed_by": {"email": "ann@lab"}, "result": [choice, region]}]
        (tmp_path / "out/tasks.json").write_text(json.dumps(tasks))
        people = {"name": "people", "file": {"path": str(tmp_path / "out/tasks.json")}}
        asked = wanted(pictures, people, guess, FOLDER)
        made = build.run(asked, store, Silent(), until="label").made
        row = next(row for row in rows_of(store, made["label"]) if row["id"] == ids["0.png"])
        assert (row["label"], row["label_source"]) == ("cat", "people:ann@lab")
        box = {"label": "face", "x": 4.0, "y": 8.0, "width": 12.0, "height": 16.0, "polygon": None}
        assert [{**o, **{k: pytest.approx(v, abs=1e-6) for k, v in o.items() if isinstance(v, float)}}
                for o in row["objects"]] == [box]  # fmt: skip

        path.write_text(json.dumps(asked.model_dump(mode="json", exclude_none=True)))
        done = dsray("label", path, "--out", "coco", "--format", "coco", "--rows", "48", "--lake", folder, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        written = json.loads((tmp_path / "coco/annotations.json").read_text())
        assert len(written["images"]) == SHARDS * EACH
        number = next(one["id"] for one in written["images"] if ids["0.png"] in one["file_name"])
        dog = next(one["id"] for one in written["categories"] if one["name"] == "dog")
        for one in written["annotations"]:
            if one["image_id"] == number and one.get("attributes"):
                one["category_id"] = dog
            elif one["image_id"] == number:
                one["bbox"][0] += 1.5
        (tmp_path / "coco/annotations.json").write_text(json.dumps(written))
        second = {"name": "second", "file": {"path": str(tmp_path / "coco/annotations.json")}}
        made = build.run(wanted(pictures, second, people, guess, FOLDER), store, Silent(), until="label").made
        row = next(row for row in rows_of(store, made["label"]) if row["id"] == ids["0.png"])
        assert (row["label"], row["label_source"]) == ("dog", "second")
        assert row["objects"] == [{**box, "x": pytest.approx(5.5, abs=1e-6)}]
        assert [vote["source"] for vote in row["votes"]] == ["second", "people:ann@lab", "guess", "column:kind"]
