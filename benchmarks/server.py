"""A static site for the crawl's figures: nginx if it is there, else a small asyncio server; on the last core."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

_NGINX = """
{user}
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; types {{ image/jpeg jpg; text/html html; }} default_type text/html; keepalive_requests 1000000;
  client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
  uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


@contextmanager
def serve(root: Path) -> Iterator[str]:
    """The files of a folder; yields the site's URL."""
    port = _free_port()
    nginx = shutil.which("nginx")
    with tempfile.TemporaryDirectory(prefix="dsray-site-") as folder:
        conf = Path(folder) / "nginx.conf"
        user = "user root;" if os.getuid() == 0 else ""  # else its worker may not read our folder
        conf.write_text(_NGINX.format(user=user, folder=folder, port=port, root=root))
        mine = [sys.executable, "-m", "benchmarks.server", str(root), str(port)]
        command = [nginx, "-c", str(conf), "-e", f"{folder}/error.log"] if nginx else mine
        with subprocess.Popen([*on_core(-1), *command], stderr=subprocess.DEVNULL) as child:
            try:
                _wait(port)
                yield f"http://127.0.0.1:{port}/"
            finally:
                child.terminate()


def on_core(which: int) -> list[str]:
    """The words that pin a command to one core, where that can be done."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return ["taskset", "-c", str(cores[which])] if shutil.which("taskset") and len(cores) > 1 else []


def _free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _wait(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with closing(socket.socket()) as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("the site did not start")


async def _answer(root: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        while (await reader.readline()).strip():
            pass
        path = root / line.split()[1].decode().split("?")[0].lstrip("/")
        path = path / "index.html" if path.is_dir() else path
        body = path.read_bytes() if path.is_file() else b""
        kind = b"image/jpeg" if path.suffix == ".jpg" else b"text/html"
        status = b"200 OK" if body else b"404 Not Found"
        writer.write(
            b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (status, kind, len(body)) + body
        )
        await writer.drain()
    writer.close()


async def _main(root: Path, port: int) -> None:
    server = await asyncio.start_server(lambda r, w: _answer(root, r, w), "127.0.0.1", port, backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), int(sys.argv[2])))
