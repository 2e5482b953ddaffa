"""The browser's proxy: it forwards what may be asked, and connects to the very address that it checked."""

import asyncio
import socket
from collections.abc import Callable

import pytest
from fetching import Site, image

from crawlers.middlewares import address
from crawlers.proxy import Proxy

real = address.forbidden


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> None:
    """127.0.0.2 is taken for a public address."""
    monkeypatch.setattr(address, "forbidden", lambda text, allowed: text != "127.0.0.2" and real(text, allowed))


def talk(*requests: str, allow_private: bool = False, most: int = 1_000_000) -> list[bytes]:
    """What a proxy answers to each request, every one on a connection of its own."""

    async def all_of_them() -> list[bytes]:
        proxy = Proxy(allow_private, most)
        port = int((await proxy.url()).rsplit(":", 1)[1])
        got = []
        for request in requests:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request.encode("latin-1"))
            got.append(await asyncio.wait_for(reader.read(), 20))
            writer.close()
        proxy.close()
        return got

    return asyncio.run(all_of_them())


def get(url: str, *fields: str) -> str:
    return "\r\n".join([f"GET {url} HTTP/1.1", "Host: whoever", *fields]) + "\r\n\r\n"


def tunnel(target: str, path: str = "/a") -> str:
    """A tunnel, and a request through it."""
    inside = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    return f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n{inside}"


@pytest.mark.usefixtures("public")
def test_what_may_be_asked_is_forwarded(site: Callable[..., Site]):
    small = site({"/a": image(b"A"), "/a?b=c": image(b"query")}, "127.0.0.2")
    plain, query, tunnelled, missing = talk(
        get(small.url + "a"), get(small.url + "a?b=c"), tunnel(f"127.0.0.2:{small.port}"), get(small.url + "no")
    )
    assert plain.startswith(b"HTTP/1.1 200") and plain.endswith(b"\r\n\r\nA")
    assert query.endswith(b"query")
    assert tunnelled.startswith(b"HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 200") and tunnelled.endswith(b"A")
    assert missing.startswith(b"HTTP/1.1 404")


SPELLINGS = [
    "127.0.0.1",
    "localhost",
    "LOCALHOST.",
    "a.localhost",
    "2130706433",
    "0x7f.1",
    "[::1]",
    "[::ffff:127.0.0.1]",
]


def test_private_addresses_are_refused_however_they_are_spelt(site: Callable[..., Site]):
    private = site({"/a": image(b"secret")})
    asked = [get(f"http://{name}:{private.port}/a") for name in SPELLINGS]
    asked += [tunnel(f"{name}:{private.port}") for name in SPELLINGS]
    assert all(answer.startswith(b"HTTP/1.1 403") for answer in talk(*asked))
    assert private.hits == []
    assert all(b"secret" in answer for answer in talk(*asked[:4], *asked[8:12], allow_private=True))


def test_metadata_is_refused_always():
    for allowed in (False, True):
        (answer,) = talk(get("http://169.254.169.254/latest/meta-data/"), allow_private=allowed)
        assert answer.startswith(b"HTTP/1.1 403")


@pytest.mark.usefixtures("public")
def test_a_name_that_changes_its_answer_reaches_only_what_was_checked(
    site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
):
    public = site({"/a": image(b"public")}, "127.0.0.2")
    private = site({"/a": image(b"secret")}, port=public.port)
    said: list[str] = []

    def answer(host: str, port: int, **kwargs: object) -> list[object]:
        said.append("127.0.0.2" if len(said) % 2 == 0 else "127.0.0.1")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (said[-1], port))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    url = f"http://rebind.example:{public.port}/a"
    answers = talk(*[get(url)] * 2, *[tunnel(f"rebind.example:{public.port}")] * 2)
    assert [b"public" in answer for answer in answers] == [True, False, True, False]
    assert said == ["127.0.0.2", "127.0.0.1"] * 2, "a name is looked up once a connection"
    assert private.hits == [] and len(public.hits) == 2


@pytest.mark.usefixtures("public")
def test_only_the_first_request_of_a_connection_is_forwarded(site: Callable[..., Site]):
    small = site({"/a": image(b"A"), "/b": image(b"B")}, "127.0.0.2")
    (answer,) = talk(get(small.url + "a") + get(small.url + "b"))
    assert answer.endswith(b"A") and small.hits == ["/a"]


@pytest.mark.usefixtures("public")
def test_a_connection_brings_no_more_than_it_may(site: Callable[..., Site]):
    small = site({"/big": image(b"x" * 300_000)}, "127.0.0.2")
    (answer,) = talk(get(small.url + "big"), most=100_000)
    assert len(answer) == 100_000


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ("nonsense\r\n\r\n", b"400"),
        (get("/origin-form"), b"400"),
        (get("ftp://127.0.0.2/a"), b"400"),
        (get("http://127.0.0.2:99999/"), b"400"),
        (get("http://127.0.0.2/", "Transfer-Encoding: chunked"), b"411"),
        (get("http://nothing.invalid/"), b"502"),
        (get("http://127.0.0.2:1/"), b"502"),
    ],
)
@pytest.mark.usefixtures("public")
def test_what_is_no_request_gets_an_answer(request_: str, status: bytes):
    (answer,) = talk(request_)
    assert answer.split(b" ")[1] == status
