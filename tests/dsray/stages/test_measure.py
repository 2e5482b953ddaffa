"""measure: one fact row per raw row, whatever the payload."""

import os
import signal

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

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


def test_a_row_that_raises_is_a_row_with_an_error():
    def broken(payload: bytes | None) -> dict:
        raise MemoryError

    assert guarded(broken, b"x") == {"error": "failed: MemoryError"}
