"""The address guard: nobody's page makes us ask a private, loopback, link-local or metadata address.

Names are checked where they are resolved, on the very address that the connection goes to, so redirects and names that
change their answer are covered; literals are checked as every request passes.
"""

import ipaddress
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from scrapy import Request
from scrapy.exceptions import CannotResolveHostError

from crawlers.refused import Reason, Refused

if TYPE_CHECKING:
    from typing import Self

    from scrapy.crawler import Crawler

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_METADATA = {
    ipaddress.ip_address(text)
    for text in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16")
}
"""Where AWS, Alibaba, Oracle and Azure tell a machine its secrets; the others use the first."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE = ipaddress.ip_network("::/96")

_refused: dict[str, str] = {}
"""Host names that were refused → the address they had; an HTTP client loses the resolver's own exception."""


def forbidden(text: str, allow_private: bool) -> bool:
    """Is this address, IPv4 or IPv6, not to be asked? Link-local, multicast, unspecified, metadata never are."""
    return any(_forbidden(address, allow_private) for address in _meanings(ipaddress.ip_address(text)))


def _forbidden(address: Address, allow_private: bool) -> bool:
    if address in _METADATA or address.is_link_local or address.is_multicast or address.is_unspecified:
        return True
    return not allow_private and (not address.is_global or address.is_reserved)


def _meanings(address: Address) -> Iterator[Address]:
    """The address, or the IPv4 addresses that it stands for (mapped, 6to4, Teredo, NAT64, compatible)."""
    if isinstance(address, ipaddress.IPv4Address):
        yield address
        return
    inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    carried = [one for one in inner if one is not None]
    yield from carried or [address]


def guarded(name: str, address: str, allow_private: bool) -> None:
    """Raises OSError, and remembers why, when a name has an address that may not be asked."""
    if forbidden(address, allow_private):
        _refused[name] = address
        raise OSError(f"{name} is {address}, a private address")


def literal(name: str) -> str | None:
    """The address that a host is in itself, in any spelling (127.1, 0x7f000001, 2130706433), or None for a name."""
    try:
        return str(ipaddress.ip_address(name.partition("%")[0]))
    except ValueError:
        pass
    if not name[:1].isdigit():
        return None
    try:
        return socket.inet_ntoa(socket.inet_aton(name))
    except (OSError, ValueError):
        return None


class AddressMiddleware:
    """Refuses literal addresses, and tells refused names from unknown ones."""

    def __init__(self, allow_private: bool) -> None:
        self.allow_private = allow_private

    @classmethod
    def from_crawler(cls, crawler: "Crawler") -> "Self":
        return cls(crawler.settings.getbool("ALLOW_PRIVATE"))

    def process_request(self, request: Request) -> None:
        name = urlsplit(request.url).hostname or ""
        address = literal(name)
        if address and forbidden(address, self.allow_private):  # of a name the resolver sees to
            raise Refused(Reason("address", "address", name, request.url))

    def process_exception(self, request: Request, exception: Exception) -> None:
        name = urlsplit(request.url).hostname or ""
        if isinstance(exception, CannotResolveHostError) and name in _refused:
            raise Refused(Reason("address", "address", _refused[name], request.url)) from exception
