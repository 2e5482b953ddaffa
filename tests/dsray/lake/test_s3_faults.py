"""S3Store's promises over a bad way to a real server: a quarter of all requests is refused, cut, forgotten or slow."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from badwire import Wire, wire
from dsray.errors import LakeError
from dsray.lake import refs, shards
from dsray.lake.embedded import Server
from dsray.lake.store import Missing, Store

RATE = 0.25


@pytest.fixture
def bad(s3: Store, server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    with wire(server.endpoint, RATE) as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL", made.endpoint)
        yield made
        print(f"\n{made.requests} requests, {dict(made.injected)}")


def test_who_creates_an_object_knows_it(s3: Store, bad: Wire):
    names = [f"one/{n}" for n in range(40)]
    for name in names:
        assert s3.create(name, name.encode() * 100, {"by": name})
        assert not s3.create(name, b"another")
    for name in names:
        assert s3.read(name) == name.encode() * 100
        head = s3.head(name)
        assert head and head.meta == {"by": name}
    assert [entry.name for entry in s3.list("one/")] == sorted(names)
    for name in names[::2]:
        s3.delete(name)
    assert [entry.name for entry in s3.list("one/")] == sorted(names[1::2])
    assert {"409", "412 after", "lost", "truncated"} <= bad.injected.keys()


def test_what_is_not_there_is_missing_though_the_answer_breaks_off(s3: Store, bad: Wire):
    while bad.injected["truncated"] < 3:
        with pytest.raises(Missing):
            s3.read("nothing")


def test_an_answer_that_always_breaks_off_is_one_sentence(s3: Store, bad: Wire, monkeypatch):
    monkeypatch.setattr(bad, "fault", lambda *_: "truncated")
    with pytest.raises(LakeError, match="cannot be reached"):
        s3.read("nothing")


def test_of_many_who_create_one_object_one_wins(s3: Store, bad: Wire):
    with ThreadPoolExecutor(6) as pool:
        for n in range(6):
            won = list(pool.map(lambda who, n=n: (who, s3.create(f"race/{n}", b"by %d" % who)), range(6)))
            winners = [who for who, made in won if made]
            assert [b"by %d" % who for who in winners] == [s3.read(f"race/{n}")]


def test_what_is_set_in_a_ref_stays_whoever_moves_it(s3: Store, bad: Wire):
    def put(n: int) -> None:
        refs.update(s3, "set", lambda value: {**(value or {}), str(n): n})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, range(40)))
    assert refs.get(s3, "set")[0] == {str(n): n for n in range(40)}


def test_columns_and_whole_shards_are_read_as_they_were_written(s3: Store, bad: Wire):
    table = pa.table({"id": [str(n) for n in range(5000)], "payload": [bytes([n % 251]) * 400 for n in range(5000)]})
    receipt = shards.write(s3, "shards/x/00/x.parquet", table, {"in": 5000})
    for _ in range(12):
        assert shards.read(s3, receipt, ["id"]).equals(table.select(["id"]))
        assert shards.read(s3, receipt).equals(table)
    assert bad.injected.total() > 10


def test_what_fails_for_good_is_one_sentence_and_what_stands_is_ours_or_nothing(s3: Store, bad: Wire):
    bad.rate = 0.9
    for n in range(6):
        try:
            s3.create(f"hard/{n}", b"x")
        except LakeError as error:
            assert error.wrong.endswith(".") and error.do and "PreconditionFailed" not in error.wrong
    bad.rate = 0.0
    assert {s3.read(entry.name) for entry in s3.list("hard/")} <= {b"x"}
