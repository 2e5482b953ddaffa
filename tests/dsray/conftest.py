"""Servers that the session's tests share: a real SeaweedFS, each test in a place of its own, and a PostgreSQL."""

import os
import secrets
from collections.abc import Iterator

import pytest

from database import postgres as serve_postgres
from dsray.lake import embedded
from dsray.lake.embedded import Server
from dsray.lake.store import Store, open_store


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with embedded.serve(tmp_path_factory.mktemp("lake")) as server:
        yield server


@pytest.fixture
def s3(server: Server, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in embedded.environment(server).items():
        monkeypatch.setenv(name, value)
    return open_store(f"{server.url}/{secrets.token_hex(4)}")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Its address; the password is `database.SECRET`."""
    with serve_postgres() as address:
        yield address
