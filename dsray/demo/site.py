"""The demo's web site over real HTTP: `python -m dsray.demo.site --port 8900 [--limit N]`, or `serve` from Python.

Every answer is rendered before the port opens, so a request costs a dictionary look-up: the crawl is what is slow.
"""

import argparse
import asyncio
import contextlib
import errno
import hashlib
import json
import selectors
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from crawlers.owner import confess, die_with, heard
from dsray.demo.gallery import Answer, gallery
from dsray.errors import DsrayError, SourceError

HOST = "127.0.0.1"
START_S = 15
_LONGEST_HEAD = 32_768


@contextmanager
def serve(port: int, limit: int | None = None) -> Iterator[str]:
    """Runs the site as a child process and yields its URL. It stops with the block, and with us if we are killed.

    Port 0 takes a free one. Raises SourceError when the port is in use, or the site does not answer within 15 s.
    """
    command = [sys.executable, "-m", "dsray.demo.site", "--port", str(port), "--owned"]
    command += ["--limit", str(limit)] if limit is not None else []
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as child:
        try:
            yield _first_words(child)
        finally:
            child.kill()


def _first_words(child: subprocess.Popen[str]) -> str:
    """The URL that the site prints as soon as it listens."""
    assert child.stdout and child.stderr
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        line = child.stdout.readline() if selector.select(START_S) else ""
    if line:
        return str(json.loads(line)["url"])
    child.kill()
    raise heard(child.stderr.read(), SourceError(f"The demo site did not start within {START_S} s.", "Try again."))


class _Connection(asyncio.Protocol):
    """One HTTP/1.1 connection, kept alive: a request's head in, a rendered answer out."""

    def __init__(self, rendered: dict[bytes, tuple[bytes, bytes]]) -> None:
        self.rendered = rendered
        self.heard = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own does not inherit from it

    def data_received(self, data: bytes) -> None:
        self.heard += data
        while b"\r\n\r\n" in self.heard:
            head, self.heard = self.heard.split(b"\r\n\r\n", 1)
            self.answer(head)
        if len(self.heard) > _LONGEST_HEAD:
            self.transport.close()

    def answer(self, head: bytes) -> None:
        line, _, fields = head.partition(b"\r\n")
        method, _, rest = line.partition(b" ")
        path, _, version = rest.partition(b" ")
        if method not in (b"GET", b"HEAD"):
            self.transport.write(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self.transport.close()
            return
        said, body = self.rendered.get(path.partition(b"?")[0], self.rendered[b"404"])
        self.transport.write(said if method == b"HEAD" else said + body)
        if version != b"HTTP/1.1" or b"connection: close" in fields.lower():
            self.transport.close()


def render(answer: Answer) -> tuple[bytes, bytes]:
    """An answer as it goes over the wire: head and body."""
    fields = [
        ("Content-Type", answer.kind),
        ("Content-Length", str(len(answer.body))),
        ("ETag", f'"{hashlib.sha256(answer.body).hexdigest()[:16]}"'),
        *answer.headers,
    ]
    lines = [f"HTTP/1.1 {answer.status}", *(f"{name}: {value}" for name, value in fields)]
    return "\r\n".join([*lines, "", ""]).encode(), answer.body


async def _listen(port: int, rendered: dict[bytes, tuple[bytes, bytes]]) -> None:
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(lambda: _Connection(rendered), HOST, port, backlog=512)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        why = "in use" if error.errno == errno.EADDRINUSE else "not ours to open"
        raise SourceError(f"Port {port} is {why}.", "Choose another with `--port`.") from error
    print(json.dumps({"url": f"http://{HOST}:{server.sockets[0].getsockname()[1]}/"}), flush=True)
    await server.serve_forever()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m dsray.demo.site", description="A gallery of handwritten digits.")
    parser.add_argument("--port", type=int, default=8900, help="0 takes a free one (default: 8900)")
    parser.add_argument("--limit", type=int, help="show the first N digits only (100 to 5,000)")
    parser.add_argument("--owned", action="store_true", help="stop when standard input ends")
    given = parser.parse_args()
    if given.owned:
        die_with(sys.stdin.buffer)
    try:
        answers = gallery(given.limit).answers
        rendered = {path.encode(): render(answer) for path, answer in answers.items()}
        rendered[b"404"] = render(Answer(b"not found", "text/plain", "404 Not Found"))
        run = asyncio.run
        with contextlib.suppress(ImportError):
            from uvloop import run
        run(_listen(given.port, rendered))
    except DsrayError as error:
        return confess(error)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
