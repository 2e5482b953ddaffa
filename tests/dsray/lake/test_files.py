"""What files add to a store's promises: crashes leave nothing half-written, and nothing escapes the folder."""

import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dsray import keys
from dsray.errors import LakeError
from dsray.lake.store import Missing, Store, open_store


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "lake with spaces"


@pytest.fixture
def files(root: Path) -> Store:
    return open_store(f"file://{root}")


def entries(root: Path) -> list[Path]:
    return sorted(p for p in root.rglob("*") if p.is_file() and ".locks" not in p.parts)


def test_metadata_is_that_of_the_bytes_whatever_a_race_left_behind(root: Path, files: Store):
    loser = root / "a" / ".meta" / f"x.{keys.digest(b'loser')}.json"
    loser.parent.mkdir(parents=True)
    loser.write_text('{"by": "loser"}')
    assert files.head("a/x") is None
    assert list(files.list("")) == []
    assert files.create("a/x", b"winner", {"by": "winner"})
    head = files.head("a/x")
    assert head is not None
    assert (head.etag, head.meta) == (keys.digest(b"winner"), {"by": "winner"})
    files.delete("a/x")
    assert entries(root) == []


def test_an_object_that_a_person_put_there_is_an_object(root: Path, files: Store):
    root.mkdir()
    (root / "x").write_bytes(b"by hand")
    assert [(e.name, e.etag) for e in files.list("")] == [("x", keys.digest(b"by hand"))]
    head = files.head("x")
    assert head is not None
    assert head.meta == {}


def test_names_that_share_a_beginning_do_not_share_metadata(files: Store):
    for name in ("x", "x.a", "x.a.json"):
        files.create(name, b"same", {"is": name})
    for name in ("x", "x.a", "x.a.json"):
        head = files.head(name)
        assert head is not None
        assert head.meta == {"is": name}
    files.delete("x")
    assert [e.name for e in files.list("x")] == ["x.a", "x.a.json"]
    assert files.head("x.a") is not None


def test_temp_files_of_dead_processes_go_and_those_of_living_ones_stay(root: Path, files: Store):
    with subprocess.Popen(["true"]) as dead:
        pass
    temp = root / ".tmp"
    temp.mkdir(parents=True)
    here, day = socket.gethostname(), time.time() - 25 * 3600
    stale, alive, remote, old = (temp / f"{n}!0" for n in (f"{here}!{dead.pid}", f"{here}!1", "other!1", "older!1"))
    for path in (stale, alive, remote, old):
        path.write_bytes(b"half")
    os.utime(old, (day, day))
    files.create("x", b"1")
    assert [p.exists() for p in (stale, alive, remote, old)] == [False, True, True, False]


WRITER = """
import os, sys
from dsray import keys
from dsray.lake.store import open_store
store = open_store(sys.argv[1])
while True:
    data = os.urandom(200_000)
    store.create("o/" + keys.digest(data), data, {"digest": keys.digest(data)})
    store.swap("ref", data, store.get("ref")[1] if store.head("ref") else None)
    print(keys.digest(data), flush=True)
"""


def test_sigkill_leaves_whole_objects_or_none(root: Path, files: Store):
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, files.url], stdout=subprocess.PIPE)
        assert writer.stdout
        first = writer.stdout.readline().decode().strip()
        time.sleep(random.uniform(0, 0.1))
        writer.kill()
        acknowledged = {first, *writer.stdout.read().decode().split()}
        writer.wait()
        found = {entry.name.removeprefix("o/"): entry for entry in files.list("o/")}
        assert {digest for digest in acknowledged if len(digest) == 64} <= set(found)
        for digest, entry in found.items():
            head = files.head(entry.name)
            assert keys.digest(files.read(entry.name)) == digest == entry.etag
            assert head is not None
            assert head.meta == {"digest": digest}
        assert len(files.read("ref")) == 200_000
    files.create("last", b"")  # the first write of a process sweeps; this one's was before the last kill
    open_store(files.url).create("sweeper", b"")
    assert not list((root / ".tmp").iterdir())


FULL = """
import resource, sys
from dsray.errors import LakeError
from dsray.lake.store import open_store
resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
try:
    open_store(sys.argv[1]).create("x", bytes(2**21))
except LakeError as error:
    print(error)
"""


def test_a_full_disk_is_one_sentence_and_nothing_is_left(root: Path, files: Store):
    done = subprocess.run([sys.executable, "-c", FULL, files.url], capture_output=True, text=True, check=True)
    assert done.stdout == f"The disk of the lake {files.url} is full. Free some space, then run again.\n"
    assert files.head("x") is None
    assert entries(root) == []


def test_a_name_below_an_object_is_refused(files: Store):
    files.create("a", b"")
    with pytest.raises(LakeError, match="cannot be written"):
        files.create("a/b", b"")
    assert files.head("a/b") is None
    files.delete("a/b")
    with pytest.raises(Missing):
        files.read("a/b")


def test_a_root_that_cannot_be_is_refused(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LakeError):
        open_store(f"file://{tmp_path}/file/lake").create("x", b"")


def test_a_lock_held_for_too_long_is_an_error(files: Store, monkeypatch: pytest.MonkeyPatch):
    import fcntl

    files.create("x", b"1")
    monkeypatch.setattr("dsray.lake.files._LOCK_S", 0.05)
    root = Path(files.url.removeprefix("file://"))
    with (root / ".locks" / keys.digest(b"x")[:2]).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(LakeError, match="locked by another process"):
            files.swap("x", b"2", keys.digest(b"1"))
    assert files.read("x") == b"1"
