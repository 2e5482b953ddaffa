"""release: columns that are there when a row has them, and that other libraries read as what they are."""

import io
import json
from contextlib import nullcontext
from dataclasses import replace

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dsray import build, console, schema
from dsray import recipe as recipes
from dsray.errors import DsrayError, GateError, RecipeError
from dsray.kinds import kind
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt, encode
from dsray.report.card import Card, card
from dsray.stages import release
from dsray.stages.moments import merged, moments, values
from dsray.stages.samples import RARE, counts, sample_table
from dsray.stages.step import Progress, Work
from inline import inline
from rows import drawing, png, sample_rows
from runs import Silent

CLASSES = ["a", "b", "c"]
PARAMS = {"classes": CLASSES, "kind": "image", "texts": [], "columns": [], "form": {"values": "bytes"}, "shape": None}
BOX = {"label": "boat", "x": 1.5, "y": 2.0, "width": 4.0, "height": 3.0, "polygon": [1.5, 2.0, 5.5, 2.0, 5.5, 5.0]}
OTHERS = {"columns": list(RARE), "form": {"values": "signed"}, "shape": [1, 28, 28]}


def samples(rows: int = 6) -> pa.Table:
    """Rows of which one has objects, one is mixed, and one has neither label nor weight."""
    none = [None] * (rows - 2)
    return sample_rows(
        [png(drawing(seed)) for seed in range(rows)],
        [*"abcab"[: rows - 1], None],
        objects=pa.array([[BOX, {**BOX, "polygon": None}], None, *none], pa.list_(schema.OBJECT)),
        mixed=pa.array([None, {"parent": "0" * 32, "label": "c", "share": 0.25}, *none], schema.MIXED),
        weight=pa.array([0.5, 2.0, *[1.0] * (rows - 3), None]),
    )


def made_of(**tables: pa.Table) -> dict[str, Manifest]:
    """The manifests of stages that made these tables, one shard each."""
    made = {
        name: Manifest(name, 1, name, {}, [], [Receipt(name, "d", table.num_rows, 1, counts(table))])
        for name, table in tables.items()
    }
    made["select"] = Manifest("select", 1, "s", {}, [], details={"classes": {name: {"train": 1} for name in CLASSES}})
    return made


def wanted(**settings) -> recipes.Recipe:
    text = "dataset: d\ncollect: {f: {files: {path: x}}}\n"
    return recipes.parse(text + f"release: {json.dumps(settings)}\n")


def test_a_release_has_only_the_columns_that_a_row_of_it_fills():
    plain = sample_rows([png(drawing(1))], ["a"])
    assert release.step(wanted(), made_of(gather=plain)).params["columns"] == []
    both = release.step(wanted(), made_of(gather=plain, augment=samples()))
    assert both.params["columns"] == ["objects", "weight", "mixed"]
    assert set(RARE) < set(release.release_table(samples(), PARAMS | {"columns": list(RARE)}).column_names)
    assert not set(RARE) & set(release.release_table(samples(), PARAMS).column_names)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A release of all columns, as a person downloads it."""
    folder = tmp_path_factory.mktemp("release")
    table = release.release_table(samples(), PARAMS | OTHERS)
    (folder / "train").mkdir()
    (folder / "train/real-00000-of-00001.parquet").write_bytes(encode(table))
    empty = release.release_table(sample_table(0), PARAMS | OTHERS)
    assert empty.schema.equals(table.schema, check_metadata=True)
    features = release.features_of(empty.schema, "image", CLASSES)
    size = (folder / "train/real-00000-of-00001.parquet").stat().st_size
    (folder / "README.md").write_text(card(Card("d", "v1", features, {"train": (6, size)})))
    return folder


def test_hugging_face_decodes_objects_mixes_weights_and_tensors(folder, tmp_path):
    import datasets

    for path in ({"path": str(folder)}, {"path": "parquet", "data_files": f"{folder}/train/*.parquet"}):
        data = datasets.load_dataset(**path, cache_dir=str(tmp_path / path["path"][:2]))["train"]
        rows = {row["id"]: row for row in data}
        first, second, *_ = (rows[one] for one in samples()["id"].to_pylist())
        assert first["objects"] == [BOX, {**BOX, "polygon": None}] and second["objects"] is None
        assert second["mixed"] == {"parent": "0" * 32, "label": 2, "share": 0.25} and not first["mixed"]
        assert data.features["mixed"]["label"].names == CLASSES
        assert (first["weight"], first["image"].size) == (0.5, (28, 28))
        if path["path"] != "parquet":  # without the card it takes the lists for lists
            assert data.features["tensor"] == datasets.Array3D((1, 28, 28), "float32")
        formula = values(drawing(0)[:, :, None], {"values": "signed"})[None, :, :, 0]
        assert np.array_equal(np.array(first["tensor"], np.float32), formula)


def test_pandas_and_duckdb_read_them(folder):
    frame = pd.read_parquet(folder / "train").set_index("id")
    first, second, *_ = samples()["id"].to_pylist()
    assert frame["objects"][first][0]["label"] == "boat" and frame["mixed"][second]["share"] == 0.25
    assert frame["weight"].isna().sum() == 1 and frame["label"].isna().sum() == 1
    files = f"{folder}/train/*.parquet"
    boats = duckdb.sql(f"select count(*) from (select unnest(objects) o from '{files}') where o.width = 4").fetchall()
    assert boats == [(2,)]
    assert duckdb.sql(f"select mixed.label from '{files}' where mixed is not null").fetchall() == [(2,)]
    assert duckdb.sql(f"select distinct len(tensor[1][1]) from '{files}'").fetchall() == [(28,)]


def test_a_class_number_stands_in_for_the_label_only():
    table = release.release_table(samples(), PARAMS | OTHERS)
    assert pq.read_schema(pa.BufferReader(encode(table))).field("mixed").type.field("label").type == pa.int64()
    labels = dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))
    assert [labels[one] for one in samples()["id"].to_pylist()] == [0, 1, 2, 0, 1, None]


def test_tensors_of_several_shapes_are_refused_before_anything_is_written():
    table = sample_rows([png(drawing(1)), png(drawing(2, 40))], ["a", "b"])
    details = merged([moments(table, kind_name="image")[0]])
    made = made_of(gather=table) | {"moments": Manifest("moments", 1, "m", {}, [], details=details)}
    with pytest.raises(RecipeError, match=r"samples have 2 shapes \(\[28, 28, 1\], \[40, 40, 1\]"):
        release.step(wanted(tensor=True), made)
    assert release.step(wanted(values="standard"), made).params["form"]["mean"] == details["mean"]
    with pytest.raises(DsrayError, match="not \\[1, 28, 28\\]"):
        release.release_table(table, PARAMS | OTHERS)
    with pytest.raises(DsrayError, match="not \\[3, 28, 28\\]"):
        release.tensors(table["media"].slice(0, 1), kind("image"), {"values": "unit"}, [3, 28, 28])


def judged(ratio: float) -> dict[str, Manifest]:
    """Manifests with a model whose usefulness is `ratio`."""
    made = made_of(gather=samples(), **{"synthesize gan": samples()})
    made["synthesize gan"] = replace(made["synthesize gan"], stage="synthesize")
    score = {"usefulness": {"ratio": ratio}, "distance": {"excess": 0.0}, "copies": {"share": 0.0, "trusted": True}}
    return made | {"evaluate": Manifest("evaluate", 2, "e", {}, [], details={"scores": {"gan": score}})}


def test_a_reason_is_part_of_what_is_released_only_where_gates_fail(store):
    good, bad = judged(0.9), judged(0.4)
    assert release.step(wanted(), good, "a smoke test").key == release.step(wanted(), good).key
    refused, accepted, other = (release.step(wanted(), bad, why) for why in (None, "a smoke test", "for a paper"))
    assert len({refused.key, accepted.key, other.key}) == 3
    assert accepted.params == refused.params | {"accepted": "a smoke test"}
    work = Work(wanted(), store, Progress(lambda *_: None))
    with pytest.raises(GateError, match=r"gan: usefulness is 0\.400, the limit is min 0\.85"):
        release.run(refused, bad, work)
    assert not list(store.list("releases/"))


def test_a_model_that_was_never_evaluated_is_not_released():
    made = judged(0.9)
    made["evaluate"].details["scores"].clear()
    with pytest.raises(GateError, match="the rows of gan were never evaluated"):
        release.step(wanted(), made, "please")
    del made["evaluate"]
    with pytest.raises(GateError, match="never evaluated"):
        release.step(wanted(), made)


def test_an_empty_release_names_the_rules_that_took_most_and_what_mends_the_first():
    counts = {"in": 1200, "kept": 0, "quarantined": 1200}

    def said(formless: int = 0, **quarantine: int) -> str:
        select = Manifest("select", 0, "", {}, [], [], counts, {"quarantine": quarantine})
        gathered = Manifest("gather", 0, "", {}, [], [], counts | {"quarantined": formless})
        return str(release.empty({"select": select, "gather": gathered}))

    assert (
        "none of 1,200 rows is left (1,100 blur, 60 opted_out, 20 entropy, 15 undecodable, ...). Change `select`"
        in said(blur=1100, unlabelled=5, entropy=20, opted_out=60, undecodable=15)
    )
    undecodable = said(undecodable=1200)
    assert (
        "(1,200 undecodable). Correct `kind`, or" in undecodable and "dsray show recipe.yaml --quarant" in undecodable
    )
    assert said() == "The release would be empty: no row was collected. Correct what `collect` reads."
    assert said(1000).endswith("(1,000 no form). Correct `render`.")
    assert "(1,000 no form, 200 blur). Correct `render`; `dsray show" in said(1000, blur=200)


@pytest.mark.parametrize("unlabelled", [False, True])
def test_an_origin_without_rows_has_no_shard_and_without_any_row_there_is_no_release(store, tmp_path, unlabelled):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "0.png").write_bytes(png(drawing(0)))
    said = {
        "dataset": "one",
        "collect": {"f": {"files": {"path": str(tmp_path / "one")}}},
        "select": {"drop": {"unlabelled": unlabelled}, "split": {"train": 0, "validation": 1, "test": 0}},
        "augment": {"copies": 1},
    }
    recipe = recipes.model().model_validate(said)
    empty = pytest.raises(DsrayError, match=r"none of 1 rows is left \(1 unlabelled\)\. Say under `label`")
    with inline(), empty if unlabelled else nullcontext():
        made = build.run(recipe, store, Silent()).made["release"]
        (receipt,) = made.shards
        assert receipt.name.endswith("/validation/real-00000-of-00001.parquet")
    told = io.StringIO()
    console.quarantine(console.console_of(told), store, recipe, "")
    assert f"one  {int(unlabelled)} of 1 rows are in quarantine" in told.getvalue()
    assert ("0.png" in told.getvalue()) is unlabelled


def test_a_recipe_that_never_ran_has_no_quarantine(store, tmp_path):
    said = {"dataset": "one", "collect": {"f": {"files": {"path": str(tmp_path)}}}}
    with pytest.raises(DsrayError, match="The verdicts behind one are not on"):
        console.quarantine(console.console_of(io.StringIO()), store, recipes.model().model_validate(said), "")
