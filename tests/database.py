"""A real PostgreSQL with passwords, started in a folder of its own by a user without rights."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import pytest

SECRET = "s3kr1t-w0rd"


def binary(name: str) -> str | None:
    places = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), Path("/usr/local/bin")]
    return next((str(place / name) for place in places if (place / name).exists()), shutil.which(name))


@contextmanager
def postgres() -> Iterator[str]:
    """A server with passwords; its address without one."""
    initdb, server = binary("initdb"), binary("postgres")
    if not (initdb and server):
        pytest.skip("there is no PostgreSQL on this machine: no initdb and postgres")
    folder = Path(mkdtemp(prefix="dsray-pg-"))
    user: dict = {"cwd": folder}
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        name = "postgres" if "\npostgres:" in Path("/etc/passwd").read_text() else "nobody"
        shutil.chown(folder, name)
        user |= {"user": name, "group": Path(folder).stat().st_gid if name == "nobody" else name, "extra_groups": []}
    (folder / "word").write_text(SECRET)
    (folder / "word").chmod(0o644)
    data = str(folder / "data")
    try:
        subprocess.run([initdb, "-D", data, "-U", "tester", f"--pwfile={folder}/word", "-A", "scram-sha-256", "-N"],
                       check=True, capture_output=True, **user)  # fmt: skip
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen([server, "-D", data, "-p", str(port), *options], stderr=log, **user)
        try:
            for _ in range(200):
                if "ready to accept connections" in (folder / "log").read_text() or process.poll() is not None:
                    break
                time.sleep(0.05)
            yield f"postgresql://tester@127.0.0.1:{port}/postgres"
        finally:
            process.terminate()
            process.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
