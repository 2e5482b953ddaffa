"""dsray.lake.leases: who is there, by the store's clock; and that nobody deletes beside one who may adopt."""

import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest

from dsray.errors import LakeError
from dsray.lake import leases
from dsray.lake.store import Store

LIMIT_S = 2.0
"""Short, but not shorter than a busy machine stands still."""


def test_a_lease_says_what_is_in_use_and_ends_with_its_holder(store: Store):
    with leases.held(store, "dsray run digits") as lease:
        lease.declare({"measure": "k1"}, ["shards/measure/"])
        (said,) = leases.live(store)
        assert (said.what, said.steps, said.folders) == ("dsray run digits", {"measure": "k1"}, ["shards/measure/"])
        assert said.pid and said.host and not said.sweeping
    assert leases.live(store) == []
    assert list(store.list(leases.FOLDER)) == []


def test_a_lease_is_renewed_in_the_background_and_that_of_a_killed_process_ends(store: Store, monkeypatch):
    monkeypatch.setattr(leases, "RENEWED_S", 0.2)
    monkeypatch.setattr(leases, "LIMIT_S", LIMIT_S)
    code = "import sys, time; from dsray.lake import leases; from dsray.lake.store import open_store\n"
    code += "leases.RENEWED_S = 0.2\nwith leases.held(open_store(sys.argv[1]), 'killed'):\n"
    code += "    print(1, flush=True); time.sleep(99)"
    child = subprocess.Popen([sys.executable, "-c", code, store.url], stdout=subprocess.PIPE)
    assert child.stdout and child.stdout.readline()
    with leases.held(store, "alive") as lease:
        time.sleep(LIMIT_S + 1)  # who is not renewed for so long has ended: both are
        lease.check()
        assert [one.what for one in lease.others()] == ["killed"]
        child.kill()
        child.wait()
        until = time.monotonic() + 10 * LIMIT_S
        while lease.others() and time.monotonic() < until:
            time.sleep(0.1)
        assert lease.others() == []
        assert [one.what for one in leases.live(store)] == ["alive"]


def test_who_may_adopt_waits_while_somebody_deletes(store: Store, monkeypatch):
    monkeypatch.setattr(leases, "_POLL_S", 0.05)
    went_on = threading.Event()
    with leases.held(store, "dsray gc") as sweeper:
        sweeper.sweep()

        def build() -> None:
            with leases.held(store, "dsray run") as lease:
                lease.declare({"measure": "k1"}, ["shards/measure/"])
                went_on.set()

        thread = threading.Thread(target=build)
        thread.start()
        assert not went_on.wait(1.0)
        assert [one.what for one in sweeper.others()] == ["dsray run"]  # who is seen although it waits
    assert went_on.wait(10)
    thread.join()


def test_a_process_that_stood_still_is_told_that_its_lease_has_ended(store: Store, monkeypatch):
    with leases.held(store, "dsray run") as lease:
        monkeypatch.setattr(leases, "LIMIT_S", -1.0)
        with pytest.raises(LakeError, match="was not heard of"):
            lease.check()
        with pytest.raises(LakeError, match="Run again"):
            lease.declare({}, [])


def test_a_lost_answer_does_not_end_a_lease_and_a_reader_s_clock_does_not_matter(store: Store, monkeypatch):
    with leases.held(store, "dsray run") as lease:
        lease._etag = "0" * 32  # as if the answer to the last renewal had been lost
        lease.declare({}, [])
        monkeypatch.setattr(time, "time", lambda: 0.0)
        assert [one.what for one in leases.live(store)] == ["dsray run"]
        assert lease.now() > next(iter(store.list(leases.FOLDER))).modified - timedelta(seconds=5)


def test_a_lease_that_cannot_be_read_is_about_everything(store: Store):
    store.create(f"{leases.FOLDER}newer.json", b'{"what": "x", "colour": "red"}')
    (said,) = leases.live(store)
    assert said.folders == ("",)


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="no clock here goes on in a suspended machine")
def test_a_machine_that_slept_finds_its_lease_ended_and_does_not_revive_it(store: Store, monkeypatch):
    with leases.held(store, "dsray run") as lease:
        lease.check()
        before, clock = store.read(lease._name), time.clock_gettime
        monkeypatch.setattr(time, "clock_gettime", lambda which: clock(which) + 3600)
        with pytest.raises(LakeError, match="was not heard of"):
            lease.check()
        with pytest.raises(LakeError, match="was not heard of"):
            lease._say()
        assert store.read(lease._name) == before
