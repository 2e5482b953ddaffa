"""dsray.upkeep.gc: what goes, what stays, and in which order."""

from dataclasses import asdict

import pyarrow as pa
import pytest

from dsray.errors import LakeError
from dsray.forget import learned
from dsray.lake import leases, manifests, refs, shards, tombstones
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt
from dsray.lake.store import Store, open_store
from dsray.lake.tombstones import Order, mark
from dsray.stages import retrain
from dsray.upkeep import gc
from dsray.upkeep.reach import reach


def shard(store: Store, name: str, lender: str = "") -> Receipt:
    return Receipt(name, store.create(name, name.encode()), 1, len(name), {}, lender)


def manifest(store: Store, stage: str, key: str, *receipts: Receipt, **details) -> str:
    manifests.publish(store, Manifest(stage, 1, key, {}, [], list(receipts), {}, details))
    return f"stages/{stage}/{key}.json"


def names(store: Store) -> list[str]:
    return [entry.name for entry in store.list("")]


def last_build(store: Store, **steps: str) -> None:
    refs.update(store, "builds/digits", lambda _: {"crawl": 0, "revisit": "all", "steps": steps})


@pytest.fixture
def lake(store: Store) -> Store:
    """A build that counts, with a lender; and what an older one left."""
    lender = shard(store, "shards/render/aa/form.parquet")
    manifest(store, "gather", "new", shard(store, "shards/gather/aa/new.parquet", lender.name))
    manifest(store, "gather", "old", shard(store, "shards/gather/bb/old.parquet"))
    last_build(store, gather="new")
    return store


def test_what_nothing_names_goes_and_what_is_named_stays_with_its_lender(lake: Store):
    dry = gc.sweep(lake, 0, dry=True)
    assert sorted(dry.names) == ["shards/gather/bb/old.parquet", "stages/gather/old.json"]
    assert dry.counts == {"shards/gather": 1, "stages/gather": 1} and sum(dry.bytes.values()) > 0
    before = names(lake)
    swept = gc.sweep(lake, 0)
    assert swept.names == dry.names
    assert names(lake) == [name for name in before if name not in dry.names]
    assert gc.sweep(lake, 0).names == []


def test_what_is_young_stays_and_keeps_what_it_names(store: Store, monkeypatch):
    """An old shard that a young manifest names must not go before it: the next build would reuse the manifest."""
    shard(store, "shards/gather/bb/orphan.parquet")
    manifest(store, "gather", "young", shard(store, "shards/gather/aa/old.parquet"))
    listed = store.list

    def aged(prefix: str):
        for entry in listed(prefix):
            old = entry.name.startswith("shards/")
            yield entry._replace(modified=entry.modified.replace(year=2020)) if old else entry

    monkeypatch.setattr(type(store), "list", lambda self, prefix: aged(prefix))
    assert gc.sweep(store, 3600).names == ["shards/gather/bb/orphan.parquet"]


def test_what_a_live_lease_names_stays_and_so_do_the_folders_in_which_its_build_may_adopt(lake: Store):
    shard(lake, "shards/measure/aa/orphan.parquet")
    shard(lake, "shards/augment/aa/orphan.parquet")
    with leases.held(lake, "dsray run") as lease:
        lease.declare({"gather": "old", "measure": "unmade"}, ["shards/measure/"])
        swept = gc.sweep(lake, 0)
        assert swept.names == ["shards/augment/aa/orphan.parquet"] and swept.beside == ["dsray run"]
    assert len(gc.sweep(lake, 0).names) == 3


def test_only_what_dsray_makes_is_taken_away(lake: Store):
    for name in ("notes.txt", "forgotten/1.json", "mine/shards/x", "refs/builds/other.json"):
        lake.create(name, b"{}")
    lake.create("probe/1", b"of a process that probes now")
    gc.sweep(lake, 0)
    assert {"notes.txt", "forgotten/1.json", "mine/shards/x", "refs/builds/other.json", "probe/1"} <= {*names(lake)}


def test_a_lake_with_a_hole_is_not_swept(lake: Store):
    lake.delete("stages/gather/new.json")
    with pytest.raises(LakeError, match=r"stages/gather/new\.json is gone or cannot be read.*verify --heal"):
        gc.sweep(lake, 0)
    lake.create("stages/gather/new.json", b"nonsense")
    with pytest.raises(LakeError, match="Nothing is swept"):
        gc.sweep(lake, 0, dry=True)
    assert "shards/gather/bb/old.parquet" in names(lake)


def test_manifests_go_before_their_shards_and_a_claim_goes_last(store: Store, monkeypatch):
    manifest(store, "gather", "old", shard(store, "shards/gather/bb/old.parquet"))
    for name in ("claim.json", "manifest.json", "train/real-00000-of-00001.parquet"):
        store.create(f"releases/digits/v1/{name}", b'{"shards": [], "stages": {}}')
    gone: list[str] = []
    monkeypatch.setattr(type(store), "delete", lambda self, name: gone.append(name))
    gc.sweep(store, 0)
    gone = [name for name in gone if not name.startswith("refs/")]
    assert gone[0] == "releases/digits/v1/manifest.json" and gone[-1] == "releases/digits/v1/claim.json"
    assert gone.index("stages/gather/old.json") < gone.index("shards/gather/bb/old.parquet")


def test_a_trained_model_needs_its_last_checkpoint_only_but_a_training_does(store: Store):
    for key in ("done", "running"):
        store.create(f"models/{key}/model.safetensors", b"x")
        for file in ("1.png", "1.safetensors", "1.json", "2.safetensors", "2.json"):
            store.create(f"models/{key}/checkpoints/0-00000000{file}", b"x")
    manifest(store, "train", "done", Receipt("models/done/model.safetensors", "", 0, 1))
    refs.update(store, "builds/digits", lambda _: {"steps": {"train gan": "done"}})
    with leases.held(store, "dsray run") as lease:
        lease.declare({"train gan": "running"}, ["models/"])
        assert gc.sweep(store, 3600).names == [], "what is young stays"
        gone = [name.removeprefix("models/done/checkpoints/") for name in gc.sweep(store, 0).names]
        assert sorted(gone) == ["0-000000001.json", "0-000000001.safetensors"]
    assert {name.split("/")[1] for name in gc.sweep(store, 0).names} == {"running"}


def test_gone_is_gone_on_a_file_lake_too(tmp_path):
    store = open_store(f"file://{tmp_path}")
    shard(store, "shards/gather/bb/old.parquet")
    gc.sweep(store, 0)
    assert not [path for path in (tmp_path / "shards").rglob("*") if path.is_file()], "sidecars go too"


def test_nothing_goes_before_an_order_to_forget_has_come_to_its_end(lake: Store):
    rest = shard(lake, "raw/web/rest.parquet")
    shard(lake, "raw/web/orphan.parquet")
    removes = {"raw": {"raw/web/old": {"digest": "", "to": asdict(rest)}, "raw/web/all": {"digest": "", "to": None}}}
    order = tombstones.add(lake, Order(0, "", "me", "a letter", {"url": 1}, rows=[mark("a")], removes=removes))
    before = names(lake)
    for dry in (True, False):
        with pytest.raises(LakeError, match=r"Order 1 .* was stopped before its end\. Run `dsray forget --continue`"):
            gc.sweep(lake, 0, dry)
    assert names(lake) == before
    entries = list(lake.list(""))
    now = max(entry.modified for entry in entries)
    keeps = reach(lake, entries, now, now)
    assert keeps.why[rest.name] == "forgotten/00001.json" and not keeps.holds("raw/web/orphan.parquet")
    tombstones.end(lake, order, {})
    assert rest.name in gc.sweep(lake, 0, dry=True).names


def test_nothing_goes_beside_somebody_else_who_deletes_unless_that_one_is_dead(lake: Store):
    with leases.held(lake, "dsray forget") as other:
        other.sweep()
        before = {name for name in names(lake) if not name.startswith(leases.FOLDER)}
        for dry in (True, False):
            with pytest.raises(LakeError, match=r"`dsray forget` on .* works on this lake\. Wait until it has ended"):
                gc.sweep(lake, 0, dry)
        assert before <= {*names(lake)}
        other._say(pid=2**22 + 1)  # no process has so high a number
        assert gc.sweep(lake, 0).names


def model(store: Store, key: str, row: str, **params: str) -> None:
    table = pa.table({"id": [row], "label": ["1"], "shard": ["x"]}, schema=retrain.LEARNED)
    said = {"rows": asdict(shards.write(store, f"models/{key}/rows.parquet", table)), "form": ""}
    weights = shard(store, f"models/{key}/model.safetensors")
    manifests.publish(store, Manifest("train", 1, key, params, [], [weights], {}, {"learned": said}))


def test_what_a_model_learned_from_stays_as_long_as_one_that_was_trained_on_from_it(store: Store):
    model(store, "first", "a")
    model(store, "second", "b", parent="first")
    model(store, "third", "c", parent="second")
    model(store, "other", "d")
    last_build(store, **{"train vae": "third"})
    gone = {name for name in gc.sweep(store, 0).names if "other" not in name}
    assert gone == {"models/first/model.safetensors", "models/second/model.safetensors"}
    found = learned.tainted(store, frozenset([mark("a")]), set())
    assert {one.key for one in found} == {"first", "second", "third"}
    last_build(store)
    assert len(gc.sweep(store, 0).names) == 7 and not list(store.list("models/"))
