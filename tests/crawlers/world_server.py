"""The process that answers for `world.World`: `World.serve` starts it, beside which it is found."""

import asyncio
import hashlib
import json
import os
import socket
import sys
import time
from collections import Counter
from contextlib import suppress
from email.utils import formatdate

from world import Route, World, canonical


class Server:
    """Answers as the world says, in the child process."""

    def __init__(self, world: World, log: str) -> None:
        self.world, self.asked, self.log = world, Counter[tuple[str, str]](), os.open(log, os.O_WRONLY | os.O_APPEND)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection. What goes wrong on it is the other side's."""
        with suppress(OSError, EOFError, ValueError):
            while await self.answer(await reader.readuntil(b"\r\n\r\n"), reader, writer):
                await writer.drain()
        writer.close()

    async def answer(self, request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Logs and answers one request. True when the connection is as good as before."""
        line, *lines = request.decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)}
        method, path, _ = line.split(" ")
        at, came = (fields["host"].partition(":")[0], canonical(path)), time.time()
        route = self.world.routes.get(at, Route(404, body=b"not found"))
        route = (*route.first, route)[min(self.asked[at], len(route.first))]
        self.asked[at] += 1
        status, fault = route.status, route.fault
        headers = {"Content-Length": str(len(route.body)), **route.headers}
        if headers.get("Retry-After") == "date":
            headers["Retry-After"] = formatdate(int(came) + 3, usegmt=True)
        if status == 200:
            headers["ETag"] = f'"{hashlib.sha256(route.body).hexdigest()[:16]}"'
        if fields.get("if-none-match", "-") == headers.get("ETag"):
            status, headers = 304, {name: headers[name] for name in headers if not name.startswith("Content-")}
        os.write(self.log, json.dumps([came, at[0], path, 0 if fault else status]).encode() + b"\n")
        head = "".join([f"HTTP/1.1 {status} -\r\n", *(f"{name}: {headers[name]}\r\n" for name in headers), "\r\n"])
        body = b"" if method == "HEAD" or status == 304 else route.body
        said = head.encode("latin-1") + body
        writer.write(said[: {"drop": 0, "hang": 0, "reset": 30, "drip": len(head), "short": -99}.get(fault, len(said))])
        if fault in ("hang", "huge"):
            await reader.read()
        for byte in body if fault == "drip" else b"":
            await asyncio.sleep(1)
            writer.write(bytes([byte]))
            await writer.drain()
        if fault == "reset":
            await asyncio.sleep(0.05)  # so that the head's beginning has arrived
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        return not fault

    def obey(self) -> None:
        """Makes the changes that the owner tells; without an owner, ends."""
        for line in sys.stdin:
            for change in json.loads(line):
                self.world.apply(*change)
            print("ready", flush=True)
        os._exit(0)


async def main(port: int, hosts: int, seed: int, log: str) -> None:
    server = Server(World(port, hosts, seed), log)
    async with await asyncio.start_server(server.talk, "127.0.0.1", port, backlog=1024) as listening:
        asyncio.get_running_loop().run_in_executor(None, server.obey)
        await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
