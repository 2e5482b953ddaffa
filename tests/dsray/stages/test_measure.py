"""measure: one fact row per raw row, whatever the payload."""

import ctypes
import faulthandler
import mmap
import os
import signal
import threading
from types import SimpleNamespace

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from dsray.stages import measure
from dsray.stages.measure import facts, guarded, in_child
from rows import raw_table


def test_a_batch_equals_its_halves(raw):
    whole, _ = facts(raw, kind_name="image")
    halves = [facts(part, kind_name="image")[0] for part in (raw.slice(0, 9), raw.slice(9))]
    assert whole.equals(pa.concat_tables(halves))


def test_rows_keep_their_order_and_bad_ones_their_reason(raw):
    table, _ = facts(raw, kind_name="image")
    assert table["id"].equals(raw["id"])
    assert table["error"].to_pylist()[17:20] == ["truncated", "empty", "not_an_image"]
    assert table["error"].to_pylist()[:17] == [None] * 17


def test_careful_rows_are_the_same_rows(raw):
    some = raw.slice(15, 5)
    assert facts(some, kind_name="image", careful=True)[0].equals(facts(some, kind_name="image")[0])


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_row(payload):
    table, _ = facts(raw_table([payload]), kind_name="image")
    assert table.num_rows == 1 and table["error"][0].as_py()


def test_a_row_that_kills_its_process_is_a_crashed_row():
    def deadly(payload: bytes | None) -> dict:
        os.kill(os.getpid(), signal.SIGKILL)
        return {}

    assert in_child(deadly, b"x") == {"error": "crashed"}


def test_a_deadly_row_among_others_is_one_crashed_row(raw, monkeypatch):
    real = measure.kind("image")

    def deadly(payload: bytes | None, own: object = ()) -> dict:
        if payload == b"deadly":
            faulthandler.disable()
            ctypes.string_at(0)  # a segmentation fault, as in a native decoder
        return real.measure(payload)

    monkeypatch.setattr(measure, "kind", lambda name: SimpleNamespace(FACTS=real.FACTS, measure=deadly))
    whole = raw.slice(0, 3)
    among = raw_table([whole["payload"][0].as_py(), b"deadly", *whole["payload"].to_pylist()[1:]])
    found, _ = facts(among, kind_name="image", careful=True)
    assert found["error"].to_pylist() == [None, "crashed", None, None]
    assert found["id"].equals(among["id"])
    kept = pa.array([True, False, True, True])
    expected, _ = facts(among.filter(kept), kind_name="image")
    assert found.filter(kept).equals(expected)


def test_a_row_that_hangs_is_a_crashed_row(monkeypatch):
    monkeypatch.setattr(measure, "_ROW_LIMIT_S", 0.3)
    assert in_child(lambda payload: threading.Event().wait(60), b"x") == {"error": "crashed"}


def test_a_row_that_takes_all_memory_fails_alone(monkeypatch):
    monkeypatch.setattr(measure, "_ROW_LIMIT_BYTES", 2**28)
    with mmap.mmap(-1, 2**36, flags=mmap.MAP_PRIVATE | 0x4000):  # MAP_NORESERVE: mapped, as Ray's store is, and unused
        assert in_child(lambda payload: {"error": str(len(bytes(2**29)))}, b"x") == {"error": "failed: MemoryError"}
        assert in_child(lambda payload: {"error": str(len(bytes(2**20)))}, b"x") == {"error": str(2**20)}


def test_a_row_that_raises_is_a_row_with_an_error():
    def broken(payload: bytes | None) -> dict:
        raise MemoryError

    assert guarded(broken, b"x") == {"error": "failed: MemoryError"}
