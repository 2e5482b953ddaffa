"""A bad way to a real S3 server: an HTTP proxy that refuses, delays, cuts and forgets, as networks and servers do.

It passes every header on as it came, Host too, so that signatures hold. What happens to a request is drawn by seed and
number; `injected` counts it by kind.
"""

import http.client
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REFUSALS = {
    "500": (500, "InternalError"),
    "503": (503, "SlowDown"),
    "409": (409, "ConditionalRequestConflict"),
    "412": (412, "PreconditionFailed"),
}
BEFORE = ("500", "503", "reset", "clock")  # of any request, instead of its effect
AFTER = ("500 after", "lost", "slow")  # of any request, when the server has done it
CONDITIONAL = ("409", "412 after")  # of a conditional put; the latter is what a retry gets when an answer was lost
READING = ("truncated", "slow")


class Wire(ThreadingHTTPServer):
    """The proxy to the server at `endpoint`; `rate` is the share of requests that something happens to."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, endpoint: str, rate: float, seed: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.server_there = endpoint.removeprefix("http://")
        self.endpoint = f"http://127.0.0.1:{self.server_port}"
        self.rate, self.seed = rate, seed
        self.requests = 0
        self.injected: Counter[str] = Counter()
        self._lock = threading.Lock()

    def fault(self, method: str, conditional: bool) -> str:
        """What happens to the next request; nothing, mostly."""
        with self._lock:
            self.requests += 1
            drawn = random.Random(f"{self.seed}/{self.requests}")
            if drawn.random() >= self.rate:
                return ""
            kinds = [*BEFORE, *AFTER, *(CONDITIONAL if conditional else ()), *(READING if method == "GET" else ())]
            kind = drawn.choice(kinds)
            self.injected[kind] += 1
            return kind

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Wire

    def _carry(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        conditional = self.command == "PUT" and any(name in self.headers for name in ("If-None-Match", "If-Match"))
        fault = self.server.fault(self.command, conditional)
        if fault == "reset":
            self._cut()
            return
        if fault in ("500", "503", "409", "clock"):
            self._refuse(*REFUSALS.get(fault, REFUSALS["503"]), wrong_clock=fault == "clock")
            return
        status, headers, body = self._ask(data)
        if fault == "lost":
            self._cut()
        elif fault.endswith(" after"):
            self._refuse(*REFUSALS[fault.removesuffix(" after")])
        else:
            self._answer(status, headers, body, fault)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _carry  # names that http.server looks for

    def _ask(self, data: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """The server's own answer."""
        upstream = http.client.HTTPConnection(self.server.server_there, timeout=120)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() != "expect":
                    upstream.putheader(name, value)
            upstream.endheaders(data)
            answer = upstream.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            upstream.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, fault: str = "") -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        size = {name.lower(): value for name, value in headers}.get("content-length", str(len(body)))
        if status not in (204, 304):
            self.send_header("Content-Length", size)
        self.end_headers()
        if fault == "truncated":
            self.wfile.write(body[: len(body) // 2])
            self._cut()
        elif fault == "slow":
            for at in range(0, len(body), max(1, len(body) // 10)):
                self.wfile.write(body[at : at + max(1, len(body) // 10)])
                self.wfile.flush()
                time.sleep(0.05)
        else:
            self.wfile.write(body)

    def _refuse(self, status: int, code: str, wrong_clock: bool = False) -> None:
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>injected</Message></Error>".encode()
        shift = (3600 if self.server.requests % 2 else -3600) if wrong_clock else 0
        headers = [("Date", formatdate(time.time() + shift, usegmt=True)), ("Content-Type", "application/xml")]
        if code == "SlowDown":
            headers.append(("Retry-After", "1"))
        self._answer(status, headers, b"" if self.command == "HEAD" else body)

    def _cut(self) -> None:
        """Ends the connection with a reset."""
        self.wfile.flush()
        self.close_connection = True
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.connection.close()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def wire(endpoint: str, rate: float, seed: int = 0) -> Iterator[Wire]:
    """A bad way to the server at `endpoint`."""
    with Wire(endpoint, rate, seed) as made:
        threading.Thread(target=made.serve_forever, args=[0.01], daemon=True).start()
        yield made
        made.shutdown()
