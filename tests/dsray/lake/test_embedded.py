"""The embedded server's life: shared by its owners, gone with the last, however that ended; nothing written is lost."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from dsray.errors import LakeError
from dsray.lake import embedded, keeper
from dsray.lake.embedded import Server, serve
from dsray.lake.store import Store, open_store

OWNER = """
import os, sys
from pathlib import Path
from dsray.lake import embedded
from dsray.lake.store import open_store
with embedded.serve(Path(sys.argv[1])) as server:
    os.environ.update(embedded.environment(server))
    open_store(server.url).create(sys.argv[2], b"by " + sys.argv[2].encode())
    print(server.endpoint, flush=True)
    sys.stdin.read()
"""


def processes(folder: Path) -> dict[int, str]:
    """The keeper and the weed of a folder, by pid, from the system's own table."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(folder) in command and ("keeper.py" in command or "mini" in command):
            found[int(process.name)] = "keeper" if "keeper.py" in command else "weed"
    return found


def scratches(folder: Path) -> list[Path]:
    here = keeper.rendezvous(folder)
    return list(here.parent.glob(f"{here.stem}.*.weed"))


def eventually(holds, seconds: float = 15) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "lake"
    for pid in processes(tmp_path):  # a graceful stop takes a second; the tests that are about it wait for it
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: not processes(tmp_path))
    for left in (tmp_path / "lake", tmp_path / "other"):
        keeper.rendezvous(left).unlink(missing_ok=True)
        for scratch in scratches(left):
            shutil.rmtree(scratch, ignore_errors=True)
        if (left / "ports.json").exists():
            keeper._sweep(json.loads((left / "ports.json").read_text()))


@pytest.fixture
def reach(monkeypatch: pytest.MonkeyPatch):
    def reach(server: Server) -> Store:
        for name, value in embedded.environment(server).items():
            monkeypatch.setenv(name, value)
        return open_store(server.url)

    return reach


@contextmanager
def owner(folder: Path, name: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process that owns the folder's server and has written an object."""
    command = [sys.executable, "-c", OWNER, str(folder), name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_owners_share_one_server_and_the_last_to_be_killed_ends_it(folder: Path, reach):
    with owner(folder, "one") as (one, first), owner(folder, "two") as (two, second):
        assert first == second
        assert sorted(processes(folder).values()) == ["keeper", "weed"]
        with serve(folder) as server:
            assert server.endpoint == first
            assert embedded.running(folder) == server
        one.kill()
        one.wait()
        alive = embedded.running(folder)
        assert alive
        assert reach(alive).read("two") == b"by two"
        two.kill()
        two.wait()
        eventually(lambda: not processes(folder))
    assert embedded.running(folder) is None
    with serve(folder) as server:
        assert [entry.name for entry in reach(server).list("")] == ["one", "two"]


def test_what_was_written_before_everything_was_killed_is_there(folder: Path, reach):
    with owner(folder, "before"), serve(folder) as server:
        store = reach(server)
        big = secrets.token_bytes(9 * 2**20)
        store.create("big", big, {"rows": "1"})
        etag = store.swap("ref", b"1", None)
        for pid in processes(folder):
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: not processes(folder))
    with serve(folder) as server:
        store = reach(server)
        assert store.read("before") == b"by before"
        assert store.read("big") == big
        assert store.get("ref") == (b"1", etag)
        assert not store.create("big", b"other")
        assert store.create("after", b"new")


@pytest.mark.parametrize("victim", ["weed", "keeper"])
def test_killing_one_of_the_two_ends_the_other_and_the_next_owner_starts_anew(folder: Path, reach, victim: str):
    with serve(folder) as server:
        reach(server).create("x", b"1")
        for pid, name in processes(folder).items():
            if name == victim:
                os.kill(pid, signal.SIGKILL)
        eventually(lambda: not processes(folder))
        assert embedded.running(folder) is None
        with serve(folder) as again:
            assert reach(again).read("x") == b"1"


def test_after_it_was_compacted_no_byte_of_deleted_objects_is_on_the_disk(folder: Path, reach):
    needle, other = secrets.token_hex(16).encode(), secrets.token_hex(16).encode()

    def holding(text: bytes) -> list[Path]:
        return [path for path in folder.rglob("*") if path.is_file() and text in path.read_bytes()]

    with serve(folder) as server:
        store = reach(server)
        store.create("stays", other)
        for number in range(20):
            store.create(f"goes/{number}", secrets.token_bytes(3000) + needle)
            store.delete(f"goes/{number}")
        assert holding(needle)
        embedded.compact(folder, store)
        assert holding(needle) == [] and store.read("stays") == other and holding(other)


def test_two_folders_have_two_servers(tmp_path: Path, folder: Path, reach):
    with serve(folder) as one, serve(tmp_path / "other") as two:
        assert one.endpoint != two.endpoint
        assert one.secret_key != two.secret_key
        assert reach(one).create("x", b"one")
        assert reach(two).create("x", b"two")
        assert reach(one).read("x") == b"one"
        with pytest.raises(LakeError, match="refuses our credentials"):
            reach(Server(two.endpoint, one.access_key, one.secret_key)).read("x")


def test_owners_that_start_at_once_share_one_server(folder: Path):
    names = [f"o{i}" for i in range(3)]
    commands = [[sys.executable, "-c", OWNER, str(folder), name] for name in names]
    owners = [subprocess.Popen(c, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for c in commands]
    try:
        assert len({process.stdout.readline() for process in owners if process.stdout}) == 1
        assert sorted(processes(folder).values()) == ["keeper", "weed"]
    finally:
        for process in owners:
            process.communicate("")
    assert [process.returncode for process in owners] == [0, 0, 0]


def test_an_owner_that_comes_while_the_server_stops_gets_a_server(folder: Path, reach):
    for number in range(2):
        with serve(folder) as server:
            assert reach(server).create(f"x{number}", b"")
    with serve(folder) as server:
        assert len(list(reach(server).list(""))) == 2


def test_stop_waits_for_one_that_stops_by_itself(folder: Path):
    with serve(folder):
        pass
    eventually(lambda: not keeper.rendezvous(folder).exists())
    assert embedded.stop(folder)
    assert not processes(folder)


def test_a_folder_is_deleted_and_made_anew_while_its_server_stops(folder: Path, reach):
    with serve(folder):
        pass
    eventually(lambda: not keeper.rendezvous(folder).exists())
    old = processes(folder)
    assert "keeper" in old.values()
    shutil.rmtree(folder, ignore_errors=True)
    with serve(folder) as server:
        eventually(lambda: not old.keys() & processes(folder).keys())
        (scratch,) = scratches(folder)
        assert (scratch / "security.toml").exists() and (scratch / "s3").exists()
        assert reach(server).create("new", b"") and sorted(processes(folder).values()) == ["keeper", "weed"]


def test_what_killed_keepers_left_is_taken_away(folder: Path):
    with serve(folder):
        for pid in processes(folder):
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: not processes(folder))
    (left,) = scratches(folder)
    with serve(folder):
        assert left not in scratches(folder)


def test_stop_ends_it_for_all(folder: Path):
    with owner(folder, "one"):
        assert embedded.stop(folder)
        assert not processes(folder)
        assert embedded.running(folder) is None
    assert not embedded.stop(folder)


def test_a_forked_child_does_not_keep_the_server(folder: Path):
    with serve(folder):
        child = os.fork()
        if child == 0:
            time.sleep(30)
            os._exit(0)
    try:
        eventually(lambda: not processes(folder), 10)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_nobody_else_gets_in(folder: Path, reach):
    with serve(folder) as server:
        assert (folder / "keys.json").stat().st_mode & 0o777 == 0o600
        assert folder.stat().st_mode & 0o777 == 0o700
        assert server.secret_key not in repr(server)
        for log in folder.glob("*.log"):
            assert server.secret_key not in log.read_text()
        reach(server).create("x", b"1")
        filer = json.loads((folder / "ports.json").read_text())["filer"]
        for side_door in (server.endpoint, f"http://127.0.0.1:{filer}/buckets"):
            for path in ("/lake/x", "/lake/"):
                with pytest.raises(urllib.error.HTTPError, match=r"40[13]"):
                    urllib.request.urlopen(side_door + path, timeout=5)
        addresses = set()
        for pid, name in processes(folder).items():
            assert server.secret_key not in Path(f"/proc/{pid}/cmdline").read_text()
            addresses |= listening(pid) if name == "weed" else set()
    assert len(addresses) >= 8
    assert {address.rpartition(":")[0] for address in addresses} == {"0100007F"}, "127.0.0.1, little-endian"
    eventually(lambda: not processes(folder))
    assert not list(keeper.rendezvous(folder).parent.glob(f"{keeper.rendezvous(folder).stem}.*"))


def listening(pid: int) -> set[str]:
    """The addresses that a process listens at."""
    inodes = {str(fd.readlink()).removeprefix("socket:[").rstrip("]") for fd in Path(f"/proc/{pid}/fd").iterdir()}
    tables = [Path(f"/proc/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    return {f[1] for table in tables for line in table if (f := line.split())[3] == "0A" and f[9] in inodes}


def test_a_port_that_another_took_meanwhile_is_left_to_it(folder: Path, reach):
    with serve(folder) as server:
        reach(server).create("x", b"1")
        port = int(server.endpoint.rpartition(":")[2])
    eventually(lambda: not processes(folder))
    with socket.create_server(("127.0.0.1", port)), serve(folder) as server:
        assert not server.endpoint.endswith(f":{port}")
        assert reach(server).read("x") == b"1"


def program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_its_last_words_are_in_the_error(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    weed = program(tmp_path / "weed", "echo 'I0101 hello' >&2; echo 'F0101 the volume is a teapot' >&2; exit 7")
    monkeypatch.setattr(embedded, "_weed", lambda: weed)
    with (
        pytest.raises(LakeError, match=r"did not start: its process ended \(7\): F0101 the volume is a teapot") as said,
        serve(folder),
    ):
        pass
    assert "file:///path" in said.value.do


def test_a_server_that_never_answers_is_given_up(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    weed = program(tmp_path / "weed", "echo thinking >&2; exec sleep 60")
    monkeypatch.setattr(embedded, "_weed", lambda: weed)
    monkeypatch.setattr(keeper, "READY_S", 0.5)
    with pytest.raises(LakeError, match="did not start: no answer within"), serve(folder):
        pass


def test_without_seaweedfs_both_ways_out_are_said(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sysconfig.get_path", lambda _: "/nowhere")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(LakeError) as caught, serve(folder):
        pass
    assert "pip install dsray[local]" in caught.value.do
    assert "lake: file:///" in caught.value.do


def test_a_folder_that_cannot_be_made(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LakeError, match="cannot be made"), serve(tmp_path / "file" / "lake"):
        pass
