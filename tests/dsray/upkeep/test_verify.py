"""dsray.upkeep.verify and heal: each problem by its name, on lakes that are made by hand. tests/e2e/test_care.py heals
the lake of a real build."""

import json
import socket
from dataclasses import replace

import pyarrow as pa
import pytest

from dsray.console import console_of
from dsray.errors import DsrayError, LakeError
from dsray.lake import leases, manifests, refs, shards
from dsray.lake.manifests import Manifest
from dsray.lake.store import Store, open_store
from dsray.upkeep import words
from dsray.upkeep.gc import Swept
from dsray.upkeep.heal import agains, heal
from dsray.upkeep.verify import HEAL, Checked, Problem, verify
from faulty import Faulty
from runs import Silent


@pytest.fixture
def lake(store: Store) -> Store:
    """One manifest with two shards, one of which borrows from the other."""
    form = shards.write(store, "shards/render/aa/form.parquet", pa.table({"media": [b"a", b"b"]}))
    rows = shards.borrowed(pa.table({"media": [b"a", b"b"]}), "media", form.digest, pa.array([0, 1], pa.int32()))
    made = shards.write(store, "shards/gather/aa/rows.parquet", rows)
    lent = type(made)(**{**vars(made), "lender": form.name})
    manifests.publish(store, Manifest("gather", 1, "k", {}, [], [lent], {"in": 2, "kept": 2, "quarantined": 0}))
    refs.update(store, "builds/digits", lambda _: {"crawl": 0, "revisit": "all", "steps": {"gather": "k"}})
    return store


def names(store: Store, **how) -> list[str]:
    return [problem.name for problem in verify(store, **how).problems]


def test_a_whole_lake_has_no_problem_and_says_what_was_looked_at(lake: Store):
    checked = verify(lake)
    assert checked.problems == [] and checked.objects == 3 and checked.bytes > 500


def test_what_is_gone_is_named_with_who_names_it(lake: Store):
    lake.delete("shards/gather/aa/rows.parquet")
    (problem,) = verify(lake, quick=True).problems
    assert problem == ("shards/gather/aa/rows.parquet", "is gone, and stages/gather/k.json names it", HEAL)
    lake.delete("stages/gather/k.json")
    assert names(lake) == ["stages/gather/k.json"]


def test_a_lender_that_is_another_one_is_told_of_by_who_borrows(lake: Store):
    lake.delete("shards/render/aa/form.parquet")
    shards.write(lake, "shards/render/aa/form.parquet", pa.table({"media": [b"a", b"c"]}))
    (problem,) = verify(lake).problems
    assert problem.name == "shards/gather/aa/rows.parquet" and "borrows of shards/render" in problem.what


def test_a_manifest_that_lies_in_another_s_place_is_named(lake: Store):
    lake.delete("stages/gather/k.json")
    other = b'{"format": 1, "stage": "gather", "version": 1, "key": "other", "params": {}, "inputs": [], "shards": []}'
    lake.create("stages/gather/k.json", other)
    (problem,) = verify(lake).problems
    assert problem.name == "stages/gather/k.json" and "something else" in problem.what


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [("builds/digits", b"nonsense", "is not a ref"),
     ("releases/digits", b'{"versions": {"1": {}}}', "makes no sense"),
     ("releases/digits", b'{"versions": {"1": {"key": "k"}}, "tags": {"gold": 2}}', "a version that is not there: v2")],
)  # fmt: skip
def test_a_ref_that_is_none_or_points_to_nothing_is_named(lake: Store, name: str, text: bytes, what: str):
    lake.delete(f"refs/{name}.json")
    lake.create(f"refs/{name}.json", text)
    (problem,) = verify(lake).problems
    assert problem.name == f"refs/{name}.json" and what in problem.what


def test_a_dataset_that_is_not_there_is_one_sentence(lake: Store):
    with pytest.raises(DsrayError, match="no release of 'nobody'"):
        verify(lake, "nobody")


def test_what_no_version_can_make_again_stays_a_problem(lake: Store):
    lake.delete("shards/gather/aa/rows.parquet")
    assert list(agains(lake)) == []
    left = heal(lake, verify(lake), Silent())
    (problem,) = left.problems  # the manifest was taken away too: a run makes both
    assert problem.name == "stages/gather/k.json" and "dsray run RECIPE" in problem.mend


def test_a_receipt_is_given_back_in_one_swap(store: Store):
    """A kill has nowhere to fall where the shard, which nobody else may have, is not there."""
    data = shards.write(store, "shards/gather/aa/rows.parquet", pa.table({"a": [1]}), {"left": 2})
    store.create("raw/web/aa.parquet", store.read(data.name))
    faulty = Faulty(store)
    receipt = replace(data, name="raw/web/aa.parquet")
    assert shards.attest(faulty, receipt) and faulty.done == ["get", "swap"]
    assert shards.adopt(store, receipt.name) == receipt
    assert not shards.attest(store, replace(receipt, digest="0" * 64))


def test_nothing_is_healed_while_somebody_else_writes(lake: Store):
    lake.delete("shards/gather/aa/rows.parquet")
    lake.delete("refs/builds/digits.json")
    lake.create("refs/builds/digits.json", b"nonsense")
    for _ in range(2):  # a ref, then an object
        found, before = verify(lake), [entry.name for entry in lake.list("stages/")]
        with leases.held(lake, "dsray run digits") as lease:
            lease.declare({}, ["shards/"])
            with pytest.raises(LakeError, match=r"`dsray run digits` on .* works on this lake"):
                heal(lake, found, Silent())
        assert [entry.name for entry in lake.list("stages/")] == before
        lake.delete("refs/builds/digits.json")
        refs.update(lake, "builds/digits", lambda _: {"crawl": 0, "revisit": "all", "steps": {"gather": "k"}})

    dead = {"what": "dsray run digits", "host": socket.gethostname(), "pid": 2**22 + 1, "folders": ["shards/"]}
    lake.create(f"{leases.FOLDER}dead.json", json.dumps(dead).encode())
    assert [one.name for one in heal(lake, verify(lake), Silent()).problems] == ["stages/gather/k.json"]


def test_a_file_lake_s_lost_sidecar_is_told_of_before_the_rows_are_believed(tmp_path):
    store = open_store(f"file://{tmp_path}")
    receipt = shards.write(store, "shards/gather/aa/rows.parquet", pa.table({"a": [1]}))
    for sidecar in (tmp_path / "shards/gather/aa/.meta").iterdir():
        sidecar.unlink()
    assert shards.attest(store, receipt) and shards.adopt(store, receipt.name) == receipt


def test_upkeep_prints_a_line_a_problem_and_what_was_looked_at(capsys):
    words.checked(console_of(), Checked([Problem("shards/x", "is gone")], 3, 2_000_000))
    said = capsys.readouterr().out
    assert "shards/x  is gone.  Mend: dsray verify --heal" in said and "1 problem: 3 objects, 2.0 MB checked." in said
    words.swept(console_of(), Swept(kept=4), True, "file:///lake")
    assert "all 4 objects of file:///lake are needed" in capsys.readouterr().out
