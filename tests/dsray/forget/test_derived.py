"""Shards that name a row, in any column that may, and the manifests behind them; models that learned from one."""

from dataclasses import asdict

import pyarrow as pa
import pytest

from dsray.forget import learned
from dsray.forget.derived import derived, naming
from dsray.lake import manifests, shards
from dsray.lake.tombstones import mark
from dsray.stages.step import Step

ROWS = frozenset([mark("lost")])


def put(store, folder: str, **columns):
    return shards.write_named(store, f"shards/{folder}", pa.table(columns))


@pytest.mark.parametrize(
    "columns",
    [{"id": ["lost", "b"]}, {"id": ["a"], "parent": ["lost"]}, {"id": ["a"], "mixed": [{"parent": "lost"}]},
     {"id": ["a"], "cluster": ["lost"]}, {"value": ["lost"], "rule": ["near_duplicate"]}],
)  # fmt: skip
def test_a_shard_that_names_the_row_is_found_whichever_column_does(store, columns):
    receipt = put(store, "x", **columns)
    assert naming(store, receipt.name, ROWS)[0] == receipt
    other = put(store, "x", **{name: ["other" if name != "mixed" else None] for name in columns})
    assert naming(store, other.name, ROWS) == (None, 0, False)


def test_manifests_behind_such_shards_are_found_and_models_that_trained_on_them(store):
    facts, samples = put(store, "measure", id=["lost"]), put(store, "gather", id=["lost"], split=["train"])
    copies = put(store, "augment", id=["c"], parent=["lost"], split=["train"])
    others = put(store, "gather", id=["a"], split=["train"])

    def made(name: str, inputs, out=(), **params) -> str:
        step = Step(name, name.split()[0], 1, params, [one.digest for one in inputs])
        return manifests.publish(store, step.manifest(list(out), {})).key

    behind = [made("measure", [], [facts]), made("gather", [facts], [samples]), made("evaluate", [samples])]
    made("moments", [others])
    taught, fine = made("train gan", [samples]), made("train vae", [others])
    warm = made("train gan", [others], parent=taught)
    made("synthesize gan", [samples])
    found = derived(store, ROWS, [])
    assert set(found.shards) == {facts.name, samples.name, copies.name} and found.children == 1
    assert sorted(one.key for one in found.manifests) == sorted(behind)
    models = {one.key for one in learned.tainted(store, ROWS, found.trained)}
    assert models == {taught, warm} and fine not in models


def test_a_second_order_finds_the_list_that_the_first_wrote(store):
    rows = pa.table({"id": ["lost", "a", "b"], "label": ["1"] * 3, "shard": ["s"] * 3})
    step = Step("train gan", "train", 1, {}, [])
    receipt = shards.write(store, f"models/{step.key}/rows.parquet", rows)
    manifests.publish(store, step.manifest([], {}, {"learned": {"rows": asdict(receipt), "form": ""}}))
    for row in ("lost", "a"):
        for entry in list(learned.unname(store, frozenset([mark(row)]))):
            store.delete(entry.name)
    said = shards.Receipt(**manifests.find(store, "train", step.key).details["learned"]["rows"])
    assert shards.read(store, said)["id"].to_pylist() == [mark("lost"), mark("a"), "b"]
    assert [entry.name for entry in store.list("models/")] == [said.name]


def test_a_row_that_trained_nobody_taints_no_model(store):
    samples = put(store, "gather", id=["lost", "a"], split=["test", "train"])
    step = Step("train gan", "train", 1, {}, [samples.digest])
    manifests.publish(store, step.manifest([], {}))
    assert learned.tainted(store, ROWS, derived(store, ROWS, []).trained) == []
