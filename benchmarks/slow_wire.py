"""A way to a server as to a distant S3: a pause before each answer, and so many bytes a second a connection.

`python -m benchmarks.slow_wire host:port pause rate` prints the port of the proxy.
"""

import asyncio
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

ADDRESS = "127.0.0.2"
"""Of this machine, but not one by which dsray knows it."""

_PIECE = 256 * 1024
_SILENCE_S = 0.005
"""Who said nothing for so long begins a new answer."""


@contextmanager
def slow(endpoint: str, pause_s: float, bytes_a_second: float) -> Iterator[str]:
    """The address of a proxy to an endpoint, in a process of its own."""
    there = endpoint.removeprefix("http://")
    command = [sys.executable, "-m", "benchmarks.slow_wire", there, str(pause_s), str(bytes_a_second)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        try:
            yield f"http://{ADDRESS}:{int(child.stdout.readline())}"
        finally:
            child.terminate()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pause_s: float, rate: float) -> None:
    """One direction of one connection."""
    loop = asyncio.get_running_loop()
    free = 0.0  # when the wire has carried what there was
    with suppress(ConnectionError):
        while piece := await reader.read(_PIECE):
            now = loop.time()
            free = (free if free > now - _SILENCE_S else now + pause_s) + len(piece) / rate
            await asyncio.sleep(free - now)
            writer.write(piece)
            await writer.drain()
    writer.close()


async def _serve(there: str, pause_s: float, rate: float) -> None:
    host, port = there.rsplit(":", 1)

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        beyond, back = await asyncio.open_connection(host, int(port), limit=_PIECE)
        await asyncio.gather(_pump(reader, back, 0, rate), _pump(beyond, writer, pause_s, rate))

    server = await asyncio.start_server(carry, ADDRESS, 0, limit=_PIECE)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    there, pause_s, rate = sys.argv[1:]
    work = _serve(there, float(pause_s), float(rate))
    if importlib.util.find_spec("uvloop"):
        import uvloop

        uvloop.run(work)
    else:
        asyncio.run(work)


if __name__ == "__main__":
    main()
