"""The HTTP client behind Scrapy's downloader: aiohttp, whose parser is C, since Twisted's takes half of a fetch's time.

Names are resolved, and refused, on the way to each connection, so redirects and names that change their answer are
covered. One answer has `download_timeout` seconds, first byte to last.
"""

import asyncio
import socket
import ssl
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import aiohttp
import certifi
import yarl
from aiohttp.abc import AbstractResolver, ResolveResult
from scrapy import Request
from scrapy.exceptions import (
    CannotResolveHostError,
    DownloadCancelledError,
    DownloadConnectionRefusedError,
    DownloadFailedError,
    DownloadTimeoutError,
    ResponseDataLossError,
    StopDownload,
    UnsupportedURLSchemeError,
)
from scrapy.http import Headers, Response
from scrapy.responsetypes import responsetypes

from crawlers.frontier import ASKED
from crawlers.known import ITEM
from crawlers.middlewares.address import guarded
from crawlers.resolve import Lookups

if TYPE_CHECKING:
    from typing import Self

    from scrapy.crawler import Crawler

_LONGEST_HEADER = 32_768
_DNS_KEPT_S = 300
_AUTOMATIC = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class Resolver(AbstractResolver):
    """The address guard: a name is refused when any of its addresses may not be asked."""

    def __init__(self, allow_private: bool) -> None:
        self.allow_private = allow_private
        self.lookups = Lookups()

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        """Raises OSError for a name that nobody knows, or that has an address that may not be asked."""
        found = await self.lookups.addresses(host, port)
        for address in found:
            guarded(host, address, self.allow_private)
        return [
            ResolveResult(hostname=host, host=address, port=port, proto=0, flags=socket.AI_NUMERICHOST,
                          family=socket.AF_INET6 if ":" in address else socket.AF_INET)
            for address in found
        ]  # fmt: skip

    async def close(self) -> None:
        self.lookups.close()


class Downloader:
    """A Scrapy download handler for http and https."""

    lazy = False

    def __init__(self, crawler: "Crawler") -> None:
        self.crawler = crawler
        settings = crawler.settings
        self.agent: str = settings["USER_AGENT"]
        self.most = settings.getint("DOWNLOAD_MAXSIZE")
        verified = ssl.create_default_context(cafile=certifi.where())
        connector = aiohttp.TCPConnector(
            limit=0, ssl=verified, resolver=Resolver(settings.getbool("ALLOW_PRIVATE")), ttl_dns_cache=_DNS_KEPT_S,
            keepalive_timeout=15,
        )  # fmt: skip
        self.session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=False,
            skip_auto_headers=_AUTOMATIC, max_line_size=_LONGEST_HEADER, max_field_size=_LONGEST_HEADER,
            timeout=aiohttp.ClientTimeout(total=None),
        )  # fmt: skip

    @classmethod
    def from_crawler(cls, crawler: "Crawler") -> "Self":
        return cls(crawler)

    async def download_request(self, request: Request) -> Response:
        """The answer, whole. Raises Scrapy's own exceptions."""
        seconds = float(request.meta.get("download_timeout") or 60)
        began = time.monotonic()
        headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, vs in request.headers.items() for v in vs]
        headers.append(("User-Agent", self.agent))
        try:
            async with asyncio.timeout(seconds):
                async with self.session.request(
                    request.method, yarl.URL(request.url, encoded=True), headers=headers, allow_redirects=False
                ) as answer:
                    request.meta["download_latency"] = time.monotonic() - began
                    return await self._read(answer, request)
        except TimeoutError as error:
            raise DownloadTimeoutError(f"Getting {request.url} took longer than {seconds:g} seconds.") from error
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
            raise UnsupportedURLSchemeError(str(error)) from error
        except aiohttp.ClientConnectorDNSError as error:
            raise CannotResolveHostError(str(error)) from error
        except aiohttp.ClientConnectorError as error:
            raise DownloadConnectionRefusedError(str(error)) from error
        except aiohttp.ClientPayloadError as error:
            raise ResponseDataLossError(str(error)) from error
        except (aiohttp.ClientError, ValueError) as error:
            raise DownloadFailedError(f"{type(error).__name__}: {error}"[:300]) from error

    async def _read(self, answer: aiohttp.ClientResponse, request: Request) -> Response:
        headers = _headers(answer)
        expected = answer.content_length
        if expected is not None and expected > self.most:
            answer.close()
            raise DownloadCancelledError(f"{expected} bytes, more than {self.most}")
        try:
            for check in self.crawler.spider.header_checks:  # type: ignore[union-attr] # ours
                check(headers, request)
        except StopDownload as stop:
            answer.close()
            stop.response = Response(request.url, status=answer.status, headers=headers, flags=["download_stopped"])
            raise
        parts: list[bytes] = []
        size = 0
        while part := await answer.content.readany():
            size += len(part)
            if size > self.most:
                answer.close()
                raise DownloadCancelledError(f"more than {self.most} bytes")
            parts.append(part)
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        asked = request.meta.get(ASKED)
        item = asked is not None and asked.kind == ITEM  # nobody reads media as text
        kind = Response if item else responsetypes.from_args(headers=headers, url=request.url, body=body)
        response = kind(request.url, status=answer.status, body=body)
        response.headers = headers  # given to the constructor, they would be converted once more
        return response

    async def close(self) -> None:
        """Ends all connections."""
        with suppress(Exception):
            await self.session.close()


def _headers(answer: aiohttp.ClientResponse) -> Headers:
    """Scrapy's own, filled past its conversions: names and values are bytes already."""
    found: dict[bytes, list[bytes]] = {}
    for name, value in answer.raw_headers:
        found.setdefault(name.title(), []).append(value)
    headers = Headers()
    for name, values in found.items():
        dict.__setitem__(headers, name, values)
    return headers
