"""The demo's site over real HTTP."""

import http.client
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dsray.demo.gallery import gallery
from dsray.demo.site import serve
from dsray.errors import SourceError


@pytest.fixture(scope="module")
def url():
    with serve(0, 100) as url:
        yield url


def connect(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)


def test_every_path_answers_as_planned_over_one_connection(url):
    connection = connect(url)
    for path, answer in gallery(100).answers.items():
        connection.request("GET", path)
        got = connection.getresponse()
        assert (got.read(), got.headers["Content-Type"], f"{got.status} {got.reason}") == answer[:3]
        assert all(got.headers[name] == value for name, value in answer.headers)
    connection.request("GET", "/lost/0.html")
    assert connection.getresponse().status == 404


def test_head_has_no_body_and_other_methods_are_refused(url):
    connection = connect(url)
    connection.request("HEAD", "/digits/00000.png")
    got = connection.getresponse()
    assert got.status == 200 and got.read() == b"" and int(got.headers["Content-Length"]) > 0
    connection.request("POST", "/", body=b"")
    assert connection.getresponse().status == 405


def test_requests_in_pieces_and_in_one_go_are_answered(url):
    where = urlsplit(url)
    with socket.create_connection((where.hostname, where.port), timeout=10) as raw:
        raw.sendall(b"GET /robots.txt HT")
        raw.sendall(b"TP/1.1\r\nHost: x\r\n\r\nGET /robots.txt HTTP/1.0\r\n\r\n")
        got = b""
        while piece := raw.recv(4096):
            got += piece
    assert got.count(b"HTTP/1.1 200 OK") == 2 and got.count(b"Disallow: /private/") == 2


def test_a_port_in_use_is_one_sentence(url):
    port = urlsplit(url).port
    with pytest.raises(SourceError, match=f"Port {port} is in use.*--port"), serve(port):
        pass


def test_it_stops_with_its_block_and_with_its_killed_owner():
    with serve(0, 100) as url:
        assert connect(url).connect() is None
    with pytest.raises(OSError):
        connect(url).connect()
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True)
    assert owner.stdout
    url = owner.stdout.readline().strip()
    assert connect(url).connect() is None
    owner.kill()
    owner.communicate()
    deadline = time.monotonic() + 10
    while is_up(url):
        assert time.monotonic() < deadline
        time.sleep(0.02)


OWNER = """
import time
from dsray.demo.site import serve
with serve(0, 100) as url:
    print(url, flush=True)
    time.sleep(60)
"""


def is_up(url: str) -> bool:
    try:
        connect(url).connect()
    except OSError:
        return False
    return True


def test_without_mlxtend_it_says_what_to_install(tmp_path: Path):
    code = "import sys; sys.modules['mlxtend'] = None; from dsray.demo.site import main; sys.exit(main())"
    said = subprocess.run([sys.executable, "-c", code, "--port", "0"], capture_output=True, text=True, timeout=30)
    assert said.returncode == 4 and "dsray[demo]" in said.stderr
