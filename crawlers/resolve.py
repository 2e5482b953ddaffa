"""What a host name stands for, looked up in threads of its own: names that nobody answers for hold up nobody else."""

import asyncio
import contextlib
import ipaddress
import socket
from concurrent.futures import ThreadPoolExecutor

_AT_ONCE = 64
_SECONDS = 20.0


class Lookups:
    """The system's resolver; a page may name many hosts that nobody answers for."""

    def __init__(self) -> None:
        self.threads = ThreadPoolExecutor(_AT_ONCE, "lookup")

    async def addresses(self, host: str, port: int) -> list[str]:
        """Raises OSError for a name that nobody knows, also when that takes too long to find out."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_SECONDS):
            return await loop.run_in_executor(self.threads, addresses, host, port)

    def close(self) -> None:
        self.threads.shutdown(wait=False, cancel_futures=True)


def addresses(host: str, port: int) -> list[str]:
    """What a name stands for now. *.localhost is always this machine, whatever a name server says (RFC 6761, 6.3)."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return ["127.0.0.1"]
    with contextlib.suppress(ValueError):
        return [str(ipaddress.ip_address(name))]
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]).partition("%")[0] for one in found))
