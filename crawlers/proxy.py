"""The browser's only way out: an HTTP proxy on loopback that resolves names itself and connects to what it checked.

A browser asks for what a page's scripts want: documents, data, WebSockets, redirects. It resolves no name and opens no
connection by itself, so none of them reaches an address that a crawl may not ask, whatever a name server says next.
"""

import asyncio
import contextlib
from collections.abc import Coroutine
from urllib.parse import urlsplit

from crawlers.middlewares import address
from crawlers.resolve import Lookups

_HEAD_S = 20.0
_CONNECT_S = 20.0
_BLOCK = 65536
_END = b"\r\n\r\n"


class Denied(Exception):
    """No connection is made. The text is the status line that the browser gets."""


class Proxy:
    """Serves CONNECT and absolute-form http requests, one a connection."""

    def __init__(self, allow_private: bool, most_bytes: int) -> None:
        self.allow_private = allow_private
        self.most_bytes = most_bytes  # that one connection may bring
        self._lookups = Lookups()
        self._starting = asyncio.Lock()
        self._server: asyncio.Server | None = None

    async def url(self) -> str:
        """Where it listens; the first call starts it."""
        async with self._starting:
            if self._server is None:
                self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._lookups.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(_HEAD_S):
                head = await reader.readuntil(_END)
            host, port, first = _asked(head)
            body = _length(head)
            back, upstream = await self._connect(host, port)
            down = self._pump(back, writer, self.most_bytes)
            if first is None:
                writer.write(b"HTTP/1.1 200 Connection established" + _END)
                await _first_of(down, self._pump(reader, upstream, self.most_bytes))
            else:
                upstream.write(first)
                # Only this request's body goes on: the next one on this connection may be for another host.
                await _first_of(down, self._pump(reader, upstream, body, stays=True))
        except Denied as denied:
            writer.write(f"HTTP/1.1 {denied}\r\nContent-Length: 0\r\nConnection: close".encode() + _END)
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            pass  # the browser, or the host, went away
        finally:
            for one in (upstream, writer):
                if one is not None:
                    with contextlib.suppress(OSError, RuntimeError):
                        one.close()

    async def _connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to one of the name's addresses. Raises Denied."""
        try:
            async with asyncio.timeout(_CONNECT_S):
                found = await self._lookups.addresses(host, port)
                allowed = [one for one in found if not address.forbidden(one, self.allow_private)]
                if not allowed:
                    raise Denied("403 Forbidden")
                for one in allowed:
                    with contextlib.suppress(OSError):
                        return await asyncio.open_connection(one, port)
        except (OSError, UnicodeError, TimeoutError):
            pass
        raise Denied("502 Bad Gateway")

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, most: int, stays: bool = False
    ) -> None:
        """Bytes from one side to the other, until the end or until `most`; then it ends too, unless it `stays`."""
        while most > 0 and (block := await source.read(min(_BLOCK, most))):
            most -= len(block)
            sink.write(block)
            await sink.drain()
        if stays and most <= 0:
            await asyncio.Event().wait()


def _asked(head: bytes) -> tuple[str, int, bytes | None]:
    """Host, port and, unless a tunnel is asked for, the request as the host is to get it. Raises Denied."""
    line, *fields = head.removesuffix(_END).split(b"\r\n")
    try:
        method, target, _ = line.decode("ascii").split(" ")
        parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise Denied("400 Bad Request") from error
    if not host or (method != "CONNECT" and parts.scheme != "http"):
        raise Denied("400 Bad Request")
    if method == "CONNECT":
        return host, port or 443, None
    path = parts._replace(scheme="", netloc="").geturl() or "/"
    kept = [one for one in fields if not one.lower().startswith((b"proxy-", b"connection:"))]
    return host, port or 80, b"\r\n".join([f"{method} {path} HTTP/1.1".encode(), *kept, b"Connection: close"]) + _END


def _length(head: bytes) -> int:
    """Bytes of the request's body. Raises Denied when it does not say."""
    fields = dict(field.lower().split(b":", 1) for field in head.split(b"\r\n")[1:] if b":" in field)
    try:
        if b"transfer-encoding" in fields:
            raise ValueError
        return int(fields.get(b"content-length", b"0"))
    except ValueError as error:
        raise Denied("411 Length Required") from error


async def _first_of(*ways: Coroutine[None, None, None]) -> None:
    """Until one of them ends; the other is given up."""
    tasks = [asyncio.create_task(way) for way in ways]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
