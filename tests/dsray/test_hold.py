"""dsray.hold: a build that has to wait does not go on with what was forgotten meanwhile."""

import threading
import time
from contextlib import ExitStack

import pyarrow as pa

from changing import CHOICES, World
from dsray.errors import LakeError
from dsray.hold import Hold
from dsray.lake import leases, manifests, shards, tombstones
from dsray.lake.store import Store
from dsray.lake.tombstones import Order, mark
from dsray.stages.step import Step


def test_a_build_that_waited_for_an_order_to_forget_begins_again(store: Store, tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "_POLL_S", 0.05)
    recipe = World(tmp_path / "source").recipe({name: values[0] for name, values in CHOICES.items()})
    step, told = Step("measure", "measure", 1, {}, []), []

    def build() -> None:
        with ExitStack() as stack:
            hold = Hold(recipe, store, {}, tombstones.load(store), stack)
            started.set()
            try:
                hold.find(step, {})
            except LakeError as error:
                told.append(str(error))

    thread, started = threading.Thread(target=build), threading.Event()
    with leases.held(store, "dsray forget") as forget:
        forget.sweep()
        thread.start()
        assert started.wait(10)
        until = time.monotonic() + 30
        while not any(other.folders for other in forget.others()) and time.monotonic() < until:
            time.sleep(0.05)
        order = tombstones.add(store, Order(0, "", "me", "a letter", {"id": 1}, rows=[mark("a")]))
        tombstones.end(store, order, {})
    thread.join()
    assert told == ["Rows were forgotten meanwhile. Run again."]
    with ExitStack() as stack:
        assert Hold(recipe, store, {}, tombstones.load(store), stack).find(step, {}) is None


def test_what_the_last_build_names_is_found_without_a_lease(store: Store, tmp_path):
    recipe = World(tmp_path / "source").recipe({name: values[0] for name, values in CHOICES.items()})
    step = Step("measure", "measure", 1, {}, [])
    manifests.publish(store, step.manifest([], {"in": 0, "kept": 0, "quarantined": 0}))
    with ExitStack() as stack:
        hold = Hold(recipe, store, {"measure": step.key}, tombstones.load(store), stack)
        assert hold.find(step, {}) is not None and hold.lease is None


def test_what_a_step_was_before_is_a_manifest_that_stands(store: Store, tmp_path):
    recipe = World(tmp_path / "source").recipe({name: values[0] for name, values in CHOICES.items()})
    step = Step("train vae", "train", 1, {}, [])
    receipt = shards.write(store, "models/a/model.safetensors", pa.table({"x": [1]}))
    manifests.publish(store, step.manifest([receipt], {"in": 1, "kept": 1, "quarantined": 0}))
    with ExitStack() as stack:
        hold = Hold(recipe, store, {"train vae": step.key, "gather": "swept"}, tombstones.load(store), stack)
        found = hold.before("train vae")
        assert found and found.shards == [receipt] and hold.before("gather") is None is hold.before("label")
