"""Orders are numbered, chained and never changed; what they keep out is told by hashes."""

import json

import pytest

from dsray import keys
from dsray.errors import LakeError
from dsray.lake import tombstones
from dsray.lake.tombstones import Order, mark


def order(**fields) -> Order:
    return Order(0, "2026-11-28T00:00:00+00:00", "me", "a letter", {"url": 1}, **fields)


def test_a_lake_without_orders_keeps_nothing_out(store):
    assert not tombstones.load(store) and tombstones.orders(store) == [] and tombstones.begun(store) == []


def test_orders_are_numbered_and_each_names_the_one_before(store):
    first, second = tombstones.add(store, order(rows=[mark("a")])), tombstones.add(store, order(digests=["d"]))
    assert (first.number, second.number, first.before) == (1, 2, "")
    assert second.before == keys.digest(store.read("forgotten/00001.json"))
    assert tombstones.orders(store) == [first, second] == tombstones.begun(store)
    tombstones.end(store, first, {"objects": 3})
    assert tombstones.begun(store) == [second]
    end = json.loads(store.read("forgotten/00001-done.json"))
    assert end["order"] == keys.digest(first.written()) and end["objects"] == 3
    assert tombstones.end(store, first, {"objects": 0}) == end  # the first that was told stands


def filed(store, count: int) -> list[bytes]:
    """Orders that came to their end, as they were written."""
    for number in range(count):
        tombstones.end(store, tombstones.add(store, order(rows=[mark(str(number))])), {})
    assert tombstones.load(store).holds("0")
    return [store.read(tombstones.name_of(number + 1)) for number in range(count)]


@pytest.mark.parametrize("gone", [1, 2])
def test_an_order_that_is_gone_is_missed(store, gone):
    filed(store, 3)
    store.delete(tombstones.name_of(gone))
    store.delete(tombstones.name_of(gone, "-done"))
    with pytest.raises(LakeError, match=rf"forgotten/0000{gone}\.json is gone or was changed\. Bring it back"):
        tombstones.load(store)


@pytest.mark.parametrize("changed", [1, 2])
def test_an_order_that_was_changed_is_noticed(store, changed):
    whole = filed(store, 2)[changed - 1]
    name = tombstones.name_of(changed)
    store.delete(name)
    with pytest.raises(LakeError, match=rf"{name} is gone or was changed"):
        tombstones.load(store)  # its end is there
    store.create(name, whole.replace(b"a letter", b"a better"))
    with pytest.raises(LakeError, match=rf"{name} is gone or was changed"):
        tombstones.load(store)
    store.delete(name)
    store.create(name, whole)
    assert tombstones.load(store).holds("1")


def test_rows_urls_and_hosts_are_held_by_their_hashes(store):
    one = tombstones.add(store, order(rows=[mark("a")], urls=[mark("http://x.org/1")], hosts=[mark("bad.org:8080")]))
    with pytest.raises(LakeError, match=r"Order 1 .* was stopped before its end\. Run `dsray forget --continue`"):
        tombstones.load(store)
    tombstones.end(store, one, {})
    held = tombstones.load(store)
    assert held.holds("a") and held.holds("b", None, "http://x.org/1") and held.holds("b", "http://BAD.org:8080/2")
    assert not held.holds("b", "http://x.org/2", "http://bad.org/2")
    assert held.holds_host("bad.org:8080") and not held.holds_host("")


@pytest.mark.parametrize("url, host", [("https://A.org:443/x", "a.org"), ("http://a.org:81/", "a.org:81"),
                                       ("file:///a", ""), ("http://[::1", "")])  # fmt: skip
def test_a_host_is_spelt_as_crawls_spell_it(url, host):
    assert tombstones.host(url) == host


@pytest.mark.parametrize("data, said", [(b"no json", "is not an order"), (b'{"format": 2}', "newer dsray")])
def test_an_order_that_cannot_be_read_is_an_error_and_not_nothing(store, data, said):
    store.create("forgotten/00001.json", data)
    with pytest.raises(LakeError, match=said):
        tombstones.load(store)
