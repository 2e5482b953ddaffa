"""What S3 adds to a store's promises: answers get lost, servers refuse, and credentials stay out of sight."""

import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dsray.errors import DamagedError, LakeError
from dsray.keys import digest
from dsray.lake import refs
from dsray.lake.embedded import Server
from dsray.lake.store import Missing, Store, open_store, probe


class Wire:
    """A TCP proxy that cuts connections, after the next puts were answered or before they were sent, and that damages
    the next bodies, of puts or of answers to gets."""

    def __init__(self, endpoint: str) -> None:
        host, _, port = endpoint.removeprefix("http://").partition(":")
        self._server = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.drop_answers = self.drop_requests = self.damage_puts = self.damage_gets = 0
        self.puts: list[bytes] = []  # how they began
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                threading.Thread(target=self._carry, args=[client], daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        """One connection: the requests here, the answers in a thread."""
        server = socket.create_connection(self._server)
        asked = [b""]
        threading.Thread(target=self._answers, args=[server, client, asked], daemon=True).start()
        with suppress(OSError), client, server:
            while data := client.recv(1 << 16):
                if data.startswith((b"PUT ", b"GET ", b"HEAD ", b"DELETE ")):
                    asked[0] = data[:4]
                    self.puts += [data] if asked[0] == b"PUT " else []
                if asked[0] == b"PUT " and self.drop_requests:
                    self.drop_requests -= 1
                    break
                if asked[0] == b"PUT " and self.damage_puts and not data.endswith(b"\r\n\r\n"):
                    self.damage_puts -= 1
                    data = _damaged(data)
                server.sendall(data)
            for end in (client, server):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _answers(self, server: socket.socket, client: socket.socket, asked: list[bytes]) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                if asked[0] == b"PUT " and self.drop_answers and not data.startswith(b"HTTP/1.1 100"):
                    self.drop_answers -= 1
                    break
                if asked[0] == b"GET " and self.damage_gets and not data.endswith(b"\r\n\r\n"):
                    self.damage_gets -= 1
                    data = _damaged(data)
                client.sendall(data)
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


def _damaged(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.fixture
def wire(s3: Store, server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    wire = Wire(server.endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", wire.endpoint)
    yield wire
    wire.close()


def test_a_create_whose_answer_was_lost_was_ours(s3: Store, wire: Wire):
    wire.drop_answers = 1  # botocore asks again, and gets 412
    assert s3.create("x", b"mine", {"by": "me"})
    assert wire.drop_answers == 0
    assert s3.read("x") == b"mine"


def test_a_create_whose_answers_were_all_lost_was_ours(s3: Store, wire: Wire):
    wire.drop_answers = 7  # as often as it is sent
    assert s3.create("x", b"mine")
    assert wire.drop_answers == 0
    assert s3.read("x") == b"mine"


def test_a_create_whose_answer_was_lost_was_not_ours(s3: Store, wire: Wire):
    s3.create("x", b"theirs")
    wire.drop_answers = 1
    assert not s3.create("x", b"theirs")
    assert s3.read("x") == b"theirs"


def test_a_create_that_never_arrived_is_sent_again(s3: Store, wire: Wire):
    wire.drop_requests = 1
    assert s3.create("x", b"mine")
    assert s3.read("x") == b"mine"


def test_a_create_that_cannot_arrive_is_an_error_and_leaves_nothing(s3: Store, wire: Wire):
    wire.drop_requests = 10**6
    with pytest.raises(LakeError, match="cannot be reached"):
        s3.create("x", b"mine")
    assert s3.head("x") is None


def test_only_of_a_large_body_the_server_is_asked_whether_it_wants_it(s3: Store, wire: Wire):
    s3.create("small", b"x")
    s3.create("large", b"x" * 2**17)
    assert [b"\r\nExpect: 100-continue\r\n" in put for put in wire.puts] == [False, True]


def test_what_is_damaged_on_its_way_is_sent_again(s3: Store, wire: Wire):
    wire.damage_puts = 1
    assert s3.create("x", b"mine") == digest(b"mine")
    wire.damage_gets = 1
    assert s3.read("x") == b"mine"
    assert wire.damage_puts == wire.damage_gets == 0


def test_what_always_comes_damaged_is_not_taken(s3: Store, wire: Wire):
    wire.damage_puts = 10**6
    assert "BadDigest" in refusal(lambda: s3.create("x", b"mine"))
    assert s3.head("x") is None
    wire.damage_puts = 0
    s3.create("x", b"mine")
    wire.damage_gets = 10**6
    with pytest.raises(DamagedError, match="x is damaged"):
        s3.read("x")


def test_increments_through_a_bad_wire_are_counted_once(s3: Store, wire: Wire):
    for expected in range(1, 5):
        wire.drop_answers = expected % 2
        assert refs.update(s3, "count", lambda value: {"n": (value or {"n": 0})["n"] + 1}) == {"n": expected}


def refusal(call) -> str:
    with pytest.raises(LakeError) as caught:
        call()
    assert not isinstance(caught.value, Missing)
    assert caught.value.wrong.endswith(".")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_wrong_bucket_is_named_and_not_made(s3: Store):
    wrong = open_store("s3://elsewhere/x")
    for _ in range(2):
        assert "no bucket 'elsewhere'" in refusal(lambda: probe(wrong))


def test_wrong_keys_are_refused_and_not_shown(s3: Store, server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-canary")
    said = refusal(lambda: probe(s3))
    assert "refuses our credentials" in said
    assert "canary" not in said
    assert server.access_key not in said


def test_no_keys(s3: Store, monkeypatch: pytest.MonkeyPatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert "no usable AWS credentials" in refusal(lambda: probe(s3))


def test_a_profile_that_is_not_there(s3: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert "AWS_PROFILE" in refusal(lambda: probe(s3))


def test_an_endpoint_where_nobody_listens_is_named_without_its_password(s3: Store, monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://user:canary@127.0.0.1:{port}")
    said = refusal(lambda: s3.read("x"))
    assert f"http://127.0.0.1:{port}" in said
    assert "canary" not in said


def test_a_proxy_is_not_asked_for_this_machine(s3: Store, monkeypatch: pytest.MonkeyPatch):
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # another environment, hence another client
    assert s3.create("x", b"1")
    with s3.open("x") as file:
        assert file.read() == b"1"


@pytest.mark.parametrize(
    ("endpoint", "far"),
    [("http://127.0.0.1:1", False), ("http://[::1]:1", False), ("https://s3.example.org", True), (None, True)],
)
def test_a_server_elsewhere_is_far(keys: None, monkeypatch: pytest.MonkeyPatch, endpoint: str | None, far: bool):
    if endpoint is not None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    assert open_store("s3://bucket/x").far is far


@contextmanager
def answering(*codes: tuple[int, str], heads: tuple[int, str] = (404, "")) -> Iterator[tuple[str, list[str]]]:
    """A server that answers puts with these, the last for ever, and knows no object."""
    puts: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            puts.append(self.headers["x-amz-meta-dsray-attempt"])
            self._say(*codes[min(len(puts), len(codes)) - 1])

        def do_HEAD(self) -> None:
            self._say(*heads)

        def _say(self, status: int, code: str) -> None:
            body = f"<Error><Code>{code}</Code><Message>m</Message></Error>".encode() if code else b""
            self.send_response(status)
            self.send_header("ETag", '"1"')
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", puts
        server.shutdown()


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", secrets.token_hex(4))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")


def test_a_conflicting_request_is_sent_again(keys: None, monkeypatch: pytest.MonkeyPatch):
    conflict = (409, "ConditionalRequestConflict")
    with answering(conflict, conflict, (200, "")) as (endpoint, puts):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        assert open_store("s3://b").create("x", b"1")
        assert len(puts) == 3
        assert len(set(puts)) == 1, "an attempt keeps its token"


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (409, "ConditionalRequestConflict", "refused a request"),
        (507, "InsufficientStorage", "no space left"),
        (403, "QuotaExceeded", "no space left"),
        (403, "AccessDenied", "refuses our credentials"),
        (403, "RequestTimeTooSkewed", "clocks of this machine and of"),
        (500, "InternalError", "its disk may be full"),
        (501, "NotImplemented", "does not honour conditional puts"),
        (404, "NoSuchBucket", "no bucket 'b'"),
    ],
)
def test_refusals_are_one_clear_sentence_after_a_few_tries(keys: None, monkeypatch, status: int, code: str, said: str):
    with answering((status, code)) as (endpoint, puts):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        assert said in refusal(lambda: open_store("s3://b").create("x", b"1"))
        assert len(puts) <= 8


def test_a_refused_condition_that_nobody_explains_is_an_unreachable_lake(keys: None, monkeypatch):
    with answering((412, "PreconditionFailed"), heads=(503, "")) as (endpoint, _):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        said = refusal(lambda: open_store("s3://b").create("x", b"1"))
    assert "503" in said and "Precondition" not in said
