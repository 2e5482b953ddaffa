"""crawlers.download: the HTTP client. Whatever a server sends, there is an outcome, within limits."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator

import pytest
from fetching import crawl, crawled_rows, image, page

from crawlers.download import Resolver


class Raw:
    """A server that says the same bytes to everybody who asks for anything but site files, and hangs up."""

    def __init__(self) -> None:
        self.says: dict[str, bytes] = {}
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=50)
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}/"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                one, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(one,), daemon=True).start()

    def _answer(self, one: socket.socket) -> None:
        with one:
            path = one.recv(65536).split(b" ")[1].decode()
            one.sendall(
                self.says.get(path, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            )


@pytest.fixture
def raw() -> Iterator[Raw]:
    server = Raw()
    yield server
    server.listening.close()


def ok(body: bytes, *headers: bytes, length: int | None = None) -> bytes:
    size = b"Content-Length: %d" % (len(body) if length is None else length)
    return b"\r\n".join([b"HTTP/1.1 200 OK", size, b"Connection: close", *headers, b"", body])


def test_answers_that_are_no_http_are_outcomes_and_the_others_are_kept(raw, job):
    raw.says = {
        "/": page("/good", "/junk", "/header", "/headers", "/status", "/short", "/chunked", "/broken", "/twice")[2],  # type: ignore[index,dict-item]
        "/good": ok(b"good", b"X-Odd: \xff\xfe", b"Content-Type: image/png"),
        "/junk": b"\x00\x01 this is no HTTP\r\n\r\n",
        "/header": ok(b"x", b"X-Long: " + b"a" * 200_000),
        "/headers": ok(b"x", *(b"X-%d: y" % at for at in range(50_000))),
        "/status": b"HTTP/1.1 999999 Never\r\nContent-Length: 0\r\n\r\n",
        "/short": ok(b"cut", length=50),
        "/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwhol\r\n1\r\ne\r\n0\r\n\r\n",
        "/broken": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nwhol",
        "/twice": ok(b"twice", b"Content-Length: 3"),
    }
    raw.says["/"] = ok(raw.says["/"], b"Content-Type: text/html")
    got = crawl(job(raw.url, retry={"times": 1}, timeout_s=5))
    assert got["/good"]["payload"] == b"good" and got["/chunked"]["payload"] == b"whole"
    wrong = {path: row["error"] for path, row in got.items() if row["error"]}
    assert wrong.keys() >= {"/junk", "/header", "/headers", "/status", "/short", "/broken", "/twice"}
    assert set(wrong.values()) <= {"unreachable", "invalid", "http_status", "too_large"}
    for row in got.values():
        if row["error"]:
            assert json.loads(row["evidence"])["value"], row["url"]


def test_a_connection_is_used_again_and_a_redirect_to_itself_ends(site, job):
    small = site({"/": page(*(f"/{at}.png" for at in range(20))), **{f"/{at}.png": image(b"x") for at in range(20)}})
    assert sum(row["payload"] == b"x" for row in crawled_rows(job(small.url)).values()) == 20


async def resolved(name: str, allow_private: bool) -> list[str]:
    return [one["host"] for one in await Resolver(allow_private).resolve(name, 80)]


@pytest.mark.parametrize("name", ["localhost", "any.thing.localhost"])
def test_localhost_is_this_machine_and_private(name):
    assert asyncio.run(resolved(name, True)) == ["127.0.0.1"]
    with pytest.raises(OSError, match="private"):
        asyncio.run(resolved(name, False))


def test_a_name_that_nobody_knows_is_an_error():
    with pytest.raises(OSError):
        asyncio.run(resolved("no-such-host.invalid", True))
