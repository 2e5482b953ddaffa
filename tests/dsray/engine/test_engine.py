"""The engine on a real Ray: shard to shard, exchange, tasks; and what they do when things go wrong."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pytest
import ray

from dsray.engine.connect import cpus
from dsray.engine.exchange import Cluster, hashes, split
from dsray.engine.shards import Work, map_shards
from dsray.engine.tasks import map_all, run_all
from dsray.errors import DsrayError, SourceError
from dsray.lake import shards
from dsray.lake.files import FileStore

pytestmark = pytest.mark.usefixtures("ray_session")


def table_of(*values):
    return pa.table({"x": pa.array(values, pa.int64())})


def put(store, name, *values):
    return shards.write(store, f"in/{name}.parquet", table_of(*values), {})


def silent(done, left):
    pass


def double(table, careful=False):
    return pa.table({"x": pa.array([2 * x for x in table["x"].to_pylist()], pa.int64())}), {"careful": int(careful)}


def test_each_shard_is_made_once_and_adopted_after(store):
    works = [Work(f"out/{n}.parquet", [(put(store, n, n, n + 1), None)]) for n in range(5)]
    first = map_shards(store, works, double, silent)
    assert [shards.read(store, receipt)["x"].to_pylist() for receipt in first] == [[2 * n, 2 * n + 2] for n in range(5)]

    def never(table, careful=False):
        raise AssertionError("made again")

    assert map_shards(store, works, never, silent) == first


def test_nobody_asks_the_store_for_shards_that_are_known(store, monkeypatch):
    one = put(store, "k", 1)
    works = [Work(f"out/{name}.parquet", [(one, None)]) for name in ("k0", "k1", "k2", "new")]
    receipts = map_shards(store, works[:3], double, silent)
    asked = []
    monkeypatch.setattr(shards, "adopt", lambda store, name: asked.append(name))
    made = map_shards(store, works, double, silent, known=receipts)
    assert made[:3] == receipts and made[3].name == "out/new.parquet" and asked == ["out/new.parquet"]


def test_only_the_columns_that_are_asked_for_are_read(store):
    receipt = shards.write(store, "in/wide.parquet", pa.table({"x": [1], "y": [2]}), {})

    def names(table, careful=False):
        return pa.table({"names": table.column_names}), {}

    (made,) = map_shards(store, [Work("out/n.parquet", [(receipt, ["y"])])], names, silent)
    assert shards.read(store, made)["names"].to_pylist() == ["y"]


class Far(FileStore):
    far = True


@pytest.mark.parametrize(("kind", "room", "tasks"), [(Far, 1e12, 2), (Far, 1e9, 1), (FileStore, 1e12, 1)])
def test_a_core_has_two_tasks_where_the_lake_is_far_and_memory_has_room(
    store, tmp_path, monkeypatch, kind, room, tasks
):
    monkeypatch.setattr("dsray.engine.shards.memory", lambda: room)
    many, patience_s = 2 * cpus(), 30 if tasks > 1 else 1
    running = tmp_path / "running"
    running.mkdir()

    def meet(table, careful=False):
        mine = running / str(os.getpid())
        mine.touch()
        until, seen = time.monotonic() + patience_s, 0
        while seen < many and time.monotonic() < until:
            seen = max(seen, len(list(running.iterdir())))
            time.sleep(0.02)
        mine.unlink()
        return table, {"seen": seen}

    works = [Work(f"out/far{n}.parquet", [(put(store, f"far{n}", n), None)]) for n in range(many)]
    made = map_shards(kind(store.url), works, meet, silent)
    assert max(receipt.counts["seen"] for receipt in made) == cpus() * tasks


def test_a_worker_that_dies_is_replaced_and_the_next_try_is_careful(store, tmp_path):
    mark = tmp_path / "died"

    def deadly(table, careful=False):
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return double(table, careful)

    (made,) = map_shards(store, [Work("out/d.parquet", [(put(store, "d", 4), None)])], deadly, silent)
    assert made.counts == {"careful": 1}


def test_light_shards_share_tasks_and_a_try_after_a_death_makes_none_twice(store, tmp_path):
    mark, numbers = tmp_path / "died", range(100)

    def deadly(table, careful=False):
        if table["x"][0].as_py() == 60 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return pa.table({"task": [ray.get_runtime_context().get_task_id()]}), {"careful": int(careful)}

    works = [Work(f"out/l{n}.parquet", [(put(store, f"l{n}", n), None)]) for n in numbers]
    heard = []
    made = map_shards(store, works, deadly, lambda done, left: heard.append((done, left)), light=True)
    assert [receipt.name for receipt in made] == [work.name for work in works]
    assert sorted(heard) == [(done, 100 - done) for done in range(1, 101)]
    tasks = {shards.read(store, receipt)["task"][0].as_py() for receipt in made}
    assert len(tasks) < len(works) / 2
    careful = [n for n, receipt in zip(numbers, made, strict=True) if receipt.counts["careful"]]
    assert 60 in careful and 59 not in careful


def test_our_own_error_crosses_ray_as_it_is(store):
    def broken(table, careful=False):
        raise SourceError("The well is dry.", "Dig.")

    with pytest.raises(SourceError) as caught:
        map_shards(store, [Work("out/b.parquet", [(put(store, "b", 1), None)])], broken, silent)
    assert str(caught.value) == "The well is dry. Dig."


def test_any_other_error_is_one_sentence(store):
    def broken(table, careful=False):
        raise ZeroDivisionError("by zero")

    with pytest.raises(DsrayError) as caught:
        map_shards(store, [Work("out/z.parquet", [(put(store, "z", 1), None)])], broken, silent)
    assert "by zero" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("partitions", [1, 2, 7])
@pytest.mark.parametrize("by", ["x", "word"])
def test_rows_with_one_key_meet_in_one_call_and_none_is_lost(partitions, by):
    words = [f"w{n % 11}" for n in range(100)]
    tables = [pa.table({"x": pa.array(np.arange(100) % 13), "word": words}).slice(n, 25) for n in range(0, 100, 25)]

    def once(table):
        groups = table.group_by(by).aggregate([([], "count_all")])
        return groups.append_column("call", pa.array([os.urandom(8).hex()] * groups.num_rows, pa.string()))

    cluster = Cluster()
    handles = cluster.round([(table,) for table in tables], lambda table: table, by, once, partitions)
    met = pa.concat_tables(cluster.fetch(handles))
    assert met[by].to_pylist().count(None) == 0
    assert len(set(met[by].to_pylist())) == met.num_rows == (13 if by == "x" else 11)
    assert sum(met["count_all"].to_pylist()) == 100


def test_splitting_keeps_every_row_where_its_key_says():
    table = pa.table({"k": pa.array(np.arange(1000), pa.uint64())})
    pieces = split(table, "k", 7)
    assert sorted(k for piece in pieces for k in piece["k"].to_pylist()) == list(range(1000))
    assert max(piece.num_rows for piece in pieces) < 2 * min(piece.num_rows for piece in pieces)
    assert np.array_equal(hashes(table["k"]), hashes(table.slice(0)["k"]))


def test_tasks_answer_in_order_and_tell_news():
    heard = []

    def square(x, post):
        post(f"at {x}")
        return x * x

    assert run_all(square, [3, 1, 2], lambda index, news: heard.append((index, news))) == [9, 1, 4]
    assert set(heard) <= {(0, "at 3"), (1, "at 1"), (2, "at 2")}


def test_results_are_told_as_they_come_and_answered_in_order():
    told = []
    assert map_all(lambda x: x * x, [3, 1, 2], told.append) == [9, 1, 4] and sorted(told) == [1, 4, 9]

    def gone(item):
        raise SourceError("It is gone.", "Find it.")

    with pytest.raises(SourceError, match=r"It is gone\."):
        map_all(gone, [1], told.append)


def test_what_holds_a_gpu_stays():
    """On two GPUs of a cluster that only says it has them: one process each, whatever it has loaded is kept."""
    code = """
import os, ray
from dsray.engine.tasks import map_all
ray.init(num_cpus=2, num_gpus=2, include_dashboard=False, log_to_driver=False)
seen = map_all(lambda item: (item, os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"]), range(7), print, gpus=1)
assert [item for item, *_ in seen] == list(range(7))
assert len({process for _, process, _ in seen}) == len({pair[1:] for pair in seen}) == 2, seen
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert said.returncode == 0, said.stderr
