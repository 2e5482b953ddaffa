"""What every store promises, asked of files and of a real S3 server."""

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from dsray.errors import DamagedError, LakeError
from dsray.keys import digest
from dsray.lake.store import Conflict, Missing, Store, checked, open_store, probe


def together(count: int, call):
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(call, range(count)))


def test_what_is_created_reads_back(store: Store):
    data = bytes(range(256)) * 40_000
    assert store.create("a/b/c.bin", data, {"rows": "3", "counts": '{"x":1}'})
    assert store.read("a/b/c.bin") == data
    assert store.get("a/b/c.bin")[0] == data
    head = store.head("a/b/c.bin")
    assert head is not None
    assert (head.size, head.meta) == (len(data), {"rows": "3", "counts": '{"x":1}'})
    assert head.etag == store.get("a/b/c.bin")[1]


def test_other_bytes_than_the_reader_knows_are_damage(store: Store):
    store.create("x", b"theirs")
    assert store.read("x", digest(b"theirs")) == b"theirs"
    with pytest.raises(DamagedError, match=r"/x is damaged"):
        store.read("x", digest(b"ours"))


def test_an_empty_object_is_an_object(store: Store):
    assert store.create("empty", b"")
    assert store.read("empty") == b""
    assert store.head("empty") is not None


def test_the_first_create_stands(store: Store):
    assert store.create("x", b"first", {"by": "first"}) == digest(b"first")
    assert not store.create("x", b"second", {"by": "second"})
    assert not store.create("x", b"first", {"by": "third"})
    head = store.head("x")
    assert store.read("x") == b"first"
    assert head is not None
    assert (head.sha256, head.meta) == (digest(b"first"), {"by": "first"})


def test_what_is_summed_up_while_it_is_written_is_what_was_written(store: Store):
    large = bytes(range(256)) * 13_000  # some pieces, and a last one that is not whole
    assert store.create("large", memoryview(large)) == digest(large)
    head = store.head("large")
    assert store.read("large") == large and head and head.sha256 == digest(large)


def test_of_64_creates_at_once_one_wins_and_its_bytes_and_metadata_stand(store: Store):
    won = together(64, lambda i: bool(store.create("raced", b"%d" % i, {"by": str(i)})))
    assert sum(won) == 1
    head = store.head("raced")
    assert head is not None
    assert store.read("raced") == b"%d" % won.index(True)
    assert head.meta == {"by": str(won.index(True))}


def test_compare_and_swap_loses_no_increment(store: Store):
    store.create("count", b"0")

    def increment(_: int) -> int:
        for conflicts in range(1000):
            data, etag = store.get("count")
            try:
                store.swap("count", b"%d" % (int(data) + 1), etag)
                return conflicts
            except Conflict:
                continue
        raise AssertionError("never won")

    together(24, increment)
    assert store.read("count") == b"24"


def test_swap_refuses_what_changed_what_is_gone_and_what_is_there(store: Store):
    first = store.swap("ref", b"1", None)
    with pytest.raises(Conflict):
        store.swap("ref", b"2", None)
    second = store.swap("ref", b"2", first)
    with pytest.raises(Conflict):
        store.swap("ref", b"3", first)
    assert store.get("ref") == (b"2", second)
    head = store.head("ref")
    assert head is not None
    assert head.etag == second
    store.delete("ref")
    with pytest.raises(Conflict):
        store.swap("ref", b"4", second)
    assert store.head("ref") is None


def test_a_swap_drops_the_metadata_of_a_create(store: Store):
    store.create("x", b"1", {"of": "one"})
    store.swap("x", b"2", store.get("x")[1])
    head = store.head("x")
    assert head is not None
    assert (head.size, head.meta) == (1, {})


def test_what_is_not_there_is_missing(store: Store):
    assert store.head("no/such") is None
    for ask in (store.read, store.get, store.open):
        with pytest.raises(Missing, match="no/such"):
            ask("no/such")
    store.delete("no/such")


def test_delete_then_create_again(store: Store):
    store.create("x", b"old", {"is": "old"})
    store.delete("x")
    assert store.head("x") is None
    assert list(store.list("")) == []
    assert store.create("x", b"new", {"is": "new"})
    assert store.read("x") == b"new"


def test_list_is_by_prefix_sorted_and_complete(store: Store):
    names = ["a/1", "a/2", "a-1", "a/b/c", "ab", "b/1"]
    for name in names:
        store.create(name, name.encode())
    assert [e.name for e in store.list("")] == sorted(names)
    assert [e.name for e in store.list("a/")] == ["a/1", "a/2", "a/b/c"]
    assert [e.name for e in store.list("a")] == sorted(n for n in names if n.startswith("a"))
    assert list(store.list("nothing/")) == []
    for entry in store.list(""):
        head = store.head(entry.name)
        assert head is not None
        assert (entry.size, entry.etag) == (head.size, head.etag)
        assert abs(entry.modified - datetime.now(UTC)) < timedelta(hours=1)


def test_open_reads_anywhere(store: Store):
    data = bytes(range(256)) * 1000
    store.create("x", data)
    with store.open("x") as file:
        assert file.size() == len(data)
        file.seek(70_000)
        assert file.read(500) == data[70_000:70_500]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/a",
        "a/",
        "a//b",
        "../a",
        "a/../b",
        "a/./b",
        ".",
        "a\nb",
        "a\0b",
        "a\\b",
        ".meta/x",
        "a/.tmp/b",
        "x" * 181,
        "a/" * 500 + "a",
    ],
)
def test_names_that_a_store_could_not_hold_are_refused(store: Store, name: str):
    for ask in (store.read, store.head, store.delete, store.open, lambda n: store.create(n, b"")):
        with pytest.raises(LakeError):
            ask(name)
    assert list(store.list("")) == []


def test_names_beyond_ascii_hold(store: Store):
    name = checked("releases/Zürich 数/v1+2 %41&=?.parquet")
    assert store.create(name, b"x")
    assert store.read(name) == b"x"
    assert [e.name for e in store.list("releases/")] == [name]


def test_a_store_travels_to_other_processes(store: Store):
    store.create("x", b"seen")
    program = "import pickle, sys; print(pickle.load(sys.stdin.buffer).read('x').decode())"
    done = subprocess.run([sys.executable, "-c", program], input=pickle.dumps(store), capture_output=True, check=True)
    assert done.stdout == b"seen\n"
    assert b"SECRET" not in pickle.dumps(store).upper()


def test_probe_passes_and_leaves_nothing(store: Store):
    probe(store)
    assert list(store.list("")) == []


class Forgetful:
    """A store that overwrites, as S3 did before 2024 and as some servers do still."""

    def __init__(self, inner: Store, promise: str) -> None:
        self._inner, self._promise, self.url = inner, promise, inner.url

    def __getattr__(self, name: str):
        return getattr(self._inner, name)

    def create(self, name, data, meta={}):  # noqa: B006  # read only
        if self._promise == "create":
            self._inner.delete(name)
        return self._inner.create(name, data, meta)

    def swap(self, name, data, etag):
        return self._inner.swap(name, data, self._inner.get(name)[1] if self._promise == "swap" else etag)


@pytest.mark.parametrize("promise", ["create", "swap"])
def test_probe_refuses_a_store_that_breaks_a_promise(store: Store, promise: str):
    with pytest.raises(LakeError, match="does not honour"):
        probe(Forgetful(store, promise))
    assert list(store.list("")) == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "lake",
        "/tmp/lake",
        "gs://bucket",
        "http://host/bucket",
        "s3://",
        "s3:///x",
        "s3://key:secret@bucket/x",
        "s3://b/../c",
        "s3://b?x=1",
        "file://host/x",
        "file:relative",
    ],
)
def test_other_addresses_are_refused_and_secrets_not_repeated(url: str):
    with pytest.raises(LakeError) as caught:
        open_store(url)
    assert "secret" not in str(caught.value)
