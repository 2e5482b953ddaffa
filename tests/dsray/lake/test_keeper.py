"""The keeper's parts that need no server: where it is met, its keys and its ports."""

import ast
import json
import os
import socket
import sys
from pathlib import Path

import pytest

from dsray.lake import keeper


def test_the_socket_is_short_and_each_folder_has_its_own(tmp_path: Path):
    deep = tmp_path / "/".join(["folder"] * 40)
    assert keeper.rendezvous(deep) == keeper.rendezvous(deep)
    assert keeper.rendezvous(deep) != keeper.rendezvous(deep.parent)
    assert len(str(keeper.rendezvous(deep)).encode()) < 100


def test_a_meeting_place_that_others_can_enter_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    room = tmp_path / f"dsray-{os.getuid()}"
    assert keeper.rendezvous(tmp_path).parent == room
    assert room.stat().st_mode & 0o777 == 0o700
    room.chmod(0o755)
    with pytest.raises(PermissionError):
        keeper.rendezvous(tmp_path)
    room.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    room.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError):
        keeper.rendezvous(tmp_path)


def test_a_folder_keeps_its_keys(tmp_path: Path):
    made = keeper._keys(tmp_path / "keys.json")
    assert keeper._keys(tmp_path / "keys.json") == made
    assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600
    assert keeper._keys(tmp_path / "others.json") != made
    assert len(made["secret_key"]) >= 32


def test_ports_are_free_distinct_and_kept_as_long_as_they_are_free(tmp_path: Path):
    path = tmp_path / "ports.json"
    ports = keeper._ports(path, again=False)
    assert len(set(ports.values())) == len(ports) == 10
    assert ports["admin.grpc"] == ports["admin"] + 10000
    assert keeper._ports(path, again=False) == ports
    assert keeper._ports(path, again=True) != ports
    path.write_text(json.dumps(ports))
    with socket.create_server(("127.0.0.1", ports["filer.grpc"])):
        assert ports["filer.grpc"] not in keeper._ports(path, again=False).values()
    path.write_text("not json")
    assert len(keeper._ports(path, again=False)) == 10


def test_it_needs_nothing_but_the_standard_library():
    tree = ast.parse(Path(keeper.__file__).read_text())
    names = [n.name for node in ast.walk(tree) if isinstance(node, ast.Import) for n in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names
