"""crawlers.resolve: names are looked up in threads of their own, within a limit."""

import asyncio
import socket
import time

import pytest

from crawlers.resolve import Lookups, addresses


def test_localhost_is_this_machine_whatever_a_name_server_says(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("asked"))
    assert addresses("x.localhost", 80) == addresses("Localhost.", 80) == ["127.0.0.1"]
    assert addresses("::1", 80) == ["::1"]


def test_names_that_nobody_answers_for_hold_up_nobody_else(monkeypatch: pytest.MonkeyPatch):
    def slow(host, *_, **__):
        time.sleep(0.5 if host.startswith("slow") else 0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("192.0.2.1", 80))]

    async def both() -> float:
        lookups = Lookups()
        others = [asyncio.create_task(lookups.addresses(f"slow{at}.example", 80)) for at in range(40)]
        await asyncio.sleep(0)
        began = time.monotonic()
        assert await lookups.addresses("quick.example", 80) == ["192.0.2.1"]
        seconds = time.monotonic() - began
        await asyncio.gather(*others)
        lookups.close()
        return seconds

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    assert asyncio.run(both()) < 0.4
