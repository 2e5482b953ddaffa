"""The world keeps its own promises."""

import http.client
import socket
import time
import zlib
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import pytest
from lxml import html
from world import OUTSIDE, World, place

Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    with World(port).serve() as served:
        yield served


def get(world: World, host: str, path: str, timeout: float = 5, **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", world.port, timeout=timeout)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET", path, headers={"Host": f"{host}:{world.port}", **named})
    response = connection.getresponse()
    answer = response.status, dict(response.getheaders()), response.read()
    connection.close()
    return answer


def planted(world: World, plant: str, path: str = "/x.png") -> tuple[str, str]:
    """A place that no other test asks."""
    return world.planted[plant][0], path


def test_every_plant_stands_on_three_hosts(world: World) -> None:
    assert {len(hosts) for hosts in world.planted.values()} == {3}
    assert len(world.start) == 200
    assert not world.kept.keys() & world.refused.keys()
    assert not {place(url) for url in world.kept} & world.forbidden


def test_a_world_is_a_function_of_its_seed() -> None:
    one, same, other = World(1), World(1), World(1, seed=8)
    assert (one.kept, one.refused, one.routes.keys()) == (same.kept, same.refused, same.routes.keys())
    assert one.kept != other.kept


def test_every_expectation_is_written_on_a_page_and_no_other(world: World) -> None:
    """What lxml finds on the pages that can be reached is what the world expects."""
    found: set[str] = set()
    for host, site in world.sites.items():
        for page in site.pages.values():
            root = html.fromstring(page.body)
            base = f"http://{host}:{world.port}/"
            for figure in root.iter("figure"):
                (source,) = figure.xpath(".//img/@src")
                assert figure.xpath(".//figcaption")[0].text_content().startswith("digit")
                absolute = source.startswith("http")
                url = ("invalid:" if "[" in source else "") + (source if absolute else base + source.lstrip("/"))
                found.add(world.canonical.get(url, url))
    unseen = {url for url in found if place(url) in world.forbidden and url not in world.refused}
    assert found - unseen >= world.kept.keys()
    assert found - unseen <= world.kept.keys() | world.refused.keys()
    assert len(unseen) == 9


def test_what_is_kept_is_served(world: World) -> None:
    for url in list(world.kept)[:200]:
        host, path = place(url)
        if host in world.plain:
            status, headers, body = get(world, host, path)
            assert (status, body) == (200, world.kept[url])
            assert get(world, host, path, If_None_Match=headers["ETag"])[0] == 304


def test_retry_after(world: World) -> None:
    status, headers, _ = get(world, *planted(world, "429"))
    assert (status, headers["Retry-After"]) == (429, "2")
    assert get(world, *planted(world, "429"))[0] == 200
    status, headers, _ = get(world, *planted(world, "503"))
    assert status == 503 and 2 <= parsedate_to_datetime(headers["Retry-After"]).timestamp() - time.time() <= 3
    assert [get(world, *planted(world, "500 twice"))[0] for _ in range(3)] == [500, 500, 200]
    assert any("Retry-After" in line for line in world.broken(world.hits()))


def test_trouble(world: World) -> None:
    for plant in ("drop", "reset"):
        with pytest.raises(ConnectionError):
            get(world, *planted(world, plant))
    with pytest.raises(http.client.IncompleteRead):
        get(world, *planted(world, "short"))
    for plant in ("hang", "10 GB"):
        with pytest.raises(TimeoutError):
            get(world, *planted(world, plant), timeout=0.5)
    bomb = get(world, *planted(world, "bomb"))[2]
    assert len(bomb) < 1_000_000 and len(zlib.decompress(bomb, 31)) == 50_000_000
    with pytest.raises(zlib.error):
        zlib.decompress(get(world, *planted(world, "damaged gzip"))[2], 31)
    assert b'/cal?day=8"' in get(world, *planted(world, "calendar", "/cal?day=7"))[2]


def test_a_second_crawl_finds_changes(world: World) -> None:
    flipped, replaced, *_ = [url for url in world.kept if place(url)[0] == world.plain[0] and "/m/" in url]
    before = get(world, *place(flipped))[1]["ETag"]
    world.flip(flipped)
    world.replace(replaced, b"new")
    status, headers, _ = get(world, *place(flipped), If_None_Match=before)
    assert (status, headers["X-Robots-Tag"]) == (304, "noai")
    assert get(world, *place(replaced))[2] == b"new"
    page = f"http://{world.plain[1]}:{world.port}/p1.html"
    gone = world.media_of[page]
    world.remove(page)
    assert {get(world, *place(url))[0] for url in [page, *gone]} == {404}
    assert not world.kept.keys() & {flipped, *gone} and world.refused[page] == ("http_status", "status")


def test_broken_promises_are_seen(world: World) -> None:
    slow = world.planted["robots delay 1"][0]
    hits = [(0.0, slow, "/", 200), (0.5, slow, "/robots.txt", 200), (0.6, slow, "/p1.html", 200)]
    assert len(world.broken(hits)) == 1
    assert len(world.broken([(9.0, OUTSIDE, "/", 404)])) == 1
    assert (
        len(world.broken([(1.0, world.plain[2], "/a?b=1&a=1", 200), (2.0, world.plain[2], "/a?a=1&b=1#x", 200)])) == 1
    )
