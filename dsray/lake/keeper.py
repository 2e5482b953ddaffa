"""The process that owns a folder's SeaweedFS: it serves as long as an owner is connected, then stops it and ends.

Run by path (`python -I -S keeper.py <folder> <weed>`) and made of the standard library only, so that it starts fast.
An owner holds a connection to the socket open; the kernel closes it however the owner dies. The folder's lock is held
by the keeper and, inherited, by weed, so that a folder never has two servers, whoever of them is killed.

A client sends one line (`own`, `look` or `stop`) and gets one JSON line: the server's endpoint, or what is wrong.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import random
import secrets
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

READY_S = 30.0  # from the start to the first answer of S3
_STOP_S = 4.0  # a graceful stop takes 1 s; on a full disk it never ends
_UNOWNED_S = 5.0  # a keeper whose first owner died before it connected
_PORT_TRIES = 5
_PORTS = (10240, 32000)  # below the range from which systems draw the ports of outgoing connections
_SERVICES = ("master", "volume", "filer", "s3", "admin")
_TICK_S = 0.02


def rendezvous(folder: Path) -> Path:
    """The socket of a folder: a short path (the kernel takes 100 bytes) in a directory of this user only."""
    room = Path(tempfile.gettempdir()) / f"dsray-{os.getuid()}"
    room.mkdir(mode=0o700, exist_ok=True)
    found = room.lstat()
    if found.st_uid != os.getuid() or not room.is_dir() or room.is_symlink() or found.st_mode & 0o077:
        raise PermissionError(f"{room} must be a directory that only you can open")
    return room / f"{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}.sock"


def main(folder: Path, weed: str) -> None:
    """Serves the folder until nobody owns it; at once when another keeper does already."""
    here = rendezvous(folder)
    lock = _lock(folder, here)
    if lock is None:
        return
    with socket.socket(socket.AF_UNIX) as listener:
        here.unlink(missing_ok=True)  # of a keeper that was killed: the lock is ours
        listener.bind(str(here))
        listener.listen(64)
        scratch = _scratch(here)
        server = None
        try:
            server = Server(folder, weed, scratch, lock)
            _serve(listener, server)
        finally:
            here.unlink(missing_ok=True)  # who comes now starts the next keeper, which waits for the lock
            if server:
                server.stop()
            shutil.rmtree(scratch, ignore_errors=True)


def _scratch(here: Path) -> Path:
    """A directory of this keeper alone: a folder may be deleted and made anew while the keeper of the old one stops."""
    for stale in here.parent.glob(f"{here.stem}.*.weed"):
        try:
            os.kill(int(stale.suffixes[0][1:]), 0)
        except (OSError, ValueError):  # its keeper was killed, and its number may be another user's now
            shutil.rmtree(stale, ignore_errors=True)
    made = here.with_suffix(f".{os.getpid()}.weed")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(mode=0o700)
    return made


class Server:
    """One weed process with its ports and keys."""

    def __init__(self, folder: Path, weed: str, scratch: Path, lock: int) -> None:
        self._folder, self._weed, self._scratch, self._lock = folder, weed, scratch, lock
        self._keys = _keys(folder / "keys.json")
        self._log = folder / "server.log"
        self._until = time.monotonic() + READY_S
        self._tries = 0
        self.answer: dict[str, Any] | None = None  # what clients are told, once it is known
        self._start()

    def _start(self) -> None:
        self._tries += 1
        self._ports = _ports(self._folder / "ports.json", again=self._tries > 1)
        data = self._folder / "data"
        data.mkdir(exist_ok=True)
        for stale in data.glob("m[0-9]*"):  # the master's state goes by its port; what matters is in the volumes
            if stale.name != f"m{self._ports['master']}":
                shutil.rmtree(stale, ignore_errors=True)
        _lock_side_doors(self._scratch / "security.toml")
        (data / "mini.options").unlink(missing_ok=True)  # what weed remembers of an earlier start
        env = {
            **os.environ,
            "AWS_ACCESS_KEY_ID": self._keys["access_key"],
            "AWS_SECRET_ACCESS_KEY": self._keys["secret_key"],
            "TMPDIR": str(self._scratch),
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command(data), env=env, cwd=data, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                pass_fds=[self._lock], preexec_fn=die_with_parent, process_group=0,
            )  # fmt: skip

    def _command(self, data: Path) -> list[str]:
        ports = [f"-{name}.port{kind}={self._ports[name + kind]}" for name in _SERVICES for kind in ("", ".grpc")]
        return [
            self._weed, "-logtostderr=true", f"-config_dir={self._scratch}", "mini", f"-dir={data}", *ports,
            "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            "-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false",
            "-s3.autoCreateBucket=false", "-volume.preStopSeconds=0",
            # With an old state the leader is elected too late for the volume server, which then waits for 5 s.
            "-master.resumeState=false",
            f"-s3.localSocket={self._scratch}/s3", f"-filer.localSocket={self._scratch}/filer",
            "-s3.allowedOrigins=http://127.0.0.1", "-filer.allowedOrigins=http://127.0.0.1",
        ]  # fmt: skip

    def poll(self) -> bool:
        """Moves the start on; False when there is nothing to serve any more."""
        if self._process.poll() is not None:
            said = _last_line(self._log)
            if "Port allocation failed" in said and self._tries < _PORT_TRIES and self.answer is None:
                self._start()
                return True
            self.answer = {"error": f"its process ended ({self._process.returncode}): {said or 'it said nothing'}"}
            return False
        if self.answer is None and _answers(self._ports["s3"]) and _has_volumes(self._ports["master"]):
            self.answer = {"endpoint": f"http://127.0.0.1:{self._ports['s3']}", **self._keys}
        if self.answer is None and time.monotonic() > self._until:
            self.answer = {"error": f"it did not answer within {READY_S:.0f} s: {_last_line(self._log)}"}
            return False
        return True

    def stop(self) -> None:
        """Gracefully, but not for ever."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        _sweep(self._ports)


def _serve(listener: socket.socket, server: Server) -> None:
    """Answers clients until the last owner is gone, someone says stop, or weed has died."""
    owners: set[socket.socket] = set()
    waiting: set[socket.socket] = set()
    unowned_until = time.monotonic() + _UNOWNED_S
    with selectors.DefaultSelector() as select:
        select.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in select.select(_TICK_S if server.answer is None else 0.25):
                if key.fileobj is listener:
                    client, _ = listener.accept()
                    select.register(client, selectors.EVENT_READ)
                    continue
                client = key.fileobj  # type: ignore[assignment]  # only sockets are registered
                said = _receive(client)
                if said == "stop":
                    return
                if said in ("own", "look"):
                    waiting.add(client)
                    owners |= {client} if said == "own" else set()
                else:  # gone
                    select.unregister(client)
                    owners.discard(client)
                    waiting.discard(client)
                    client.close()
            alive = server.poll()
            if server.answer is not None:
                for client in waiting:
                    with contextlib.suppress(OSError):
                        client.sendall(json.dumps(server.answer).encode() + b"\n")
                waiting.clear()
            if owners:
                unowned_until = 0.0
            if not alive or (not owners and time.monotonic() > unowned_until):
                return


def _receive(client: socket.socket) -> str:
    try:
        return client.recv(64).decode().strip()
    except OSError:
        return ""


def _lock(folder: Path, here: Path) -> int | None:
    """The folder's lock, or None when another keeper serves the folder. Waits while one is stopping."""
    handle = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + READY_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except BlockingIOError:
            with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
                client.connect(str(here))
                return None
        if time.monotonic() > until:
            sys.exit("another process holds the folder's lock and does not answer")
        time.sleep(_TICK_S)


def _keys(path: Path) -> dict[str, str]:
    """The folder's own random keys, readable by this user only."""
    if not path.exists():
        made = {"access_key": secrets.token_hex(10), "secret_key": secrets.token_hex(20)}
        temp = path.with_suffix(".new")
        temp.unlink(missing_ok=True)
        with os.fdopen(os.open(temp, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            json.dump(made, file)
            file.flush()
            os.fsync(file.fileno())
        temp.rename(path)
    keys: dict[str, str] = json.loads(path.read_text())
    return keys


def _lock_side_doors(path: Path) -> None:
    """Keys that nobody knows for SeaweedFS's own HTTP interface, which would hand out objects without ours."""
    sections = ("jwt.filer_signing", "jwt.filer_signing.read")
    path.touch(0o600)
    path.write_text("".join(f'[{section}]\nkey = "{secrets.token_hex(24)}"\n' for section in sections))


def _ports(path: Path, again: bool) -> dict[str, int]:
    """A free port for each service; those of the last time when all are still free."""
    names = [name + kind for name in _SERVICES for kind in ("", ".grpc")]
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        last = json.loads(path.read_text())
        _sweep(last)
        if not again and sorted(last) == sorted(names) and all(_free(port) for port in last.values()):
            return {name: int(last[name]) for name in names}
    chosen: dict[str, int] = {}
    while len(chosen) < len(names):
        port = random.SystemRandom().randrange(*_PORTS)
        if _free(port) and port not in chosen.values():
            chosen[names[len(chosen)]] = port
    # Weed's own worker looks for the admin there, whatever it is told.
    chosen["admin.grpc"] = chosen["admin"] + 10000
    path.write_text(json.dumps(chosen))
    return chosen


def _sweep(ports: dict[str, int]) -> None:
    """Removes the sockets that a weed with these ports leaves behind when it is killed."""
    for name in _SERVICES:
        Path(f"/tmp/seaweedfs-{name}-grpc-{ports[name + '.grpc']}.sock").unlink(missing_ok=True)


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 0.2).close()
    except OSError:
        return False
    return True


def _has_volumes(master: int) -> bool:
    """Whether the master knows of the volume server: before that S3 answers, but neither takes nor gives data."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", master), 0.2) as connection:
        connection.sendall(b"GET /dir/status HTTP/1.0\r\n\r\n")
        with connection.makefile("rb") as answer:
            return b'"DataNodes":[{' in answer.read(65536).replace(b" ", b"")
    return False


def _last_line(log: Path) -> str:
    """The last thing that weed complained about, else the last thing it said; never more than 300 characters."""
    try:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        return ""
    complaints = [line for line in lines if line[:1] in "EF"]
    return (complaints or lines or [""])[-1][:300]


def die_with_parent() -> None:
    """In a child process: on Linux it is killed when its parent is, so that no orphan goes on."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    main(Path(sys.argv[1]), sys.argv[2])
