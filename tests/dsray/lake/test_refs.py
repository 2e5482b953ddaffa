"""Refs: many writers, no lost update."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from dsray.errors import LakeError
from dsray.lake import refs
from dsray.lake.store import Conflict, Store


def test_a_ref_begins_as_none_and_moves(store: Store):
    assert refs.get(store, "datasets/digits") == (None, None)
    assert refs.update(store, "datasets/digits", lambda value: {"was": value}) == {"was": None}
    assert refs.update(store, "datasets/digits", lambda value: {"was": value}) == {"was": {"was": None}}
    value, etag = refs.get(store, "datasets/digits")
    assert value == {"was": {"was": None}}
    assert etag
    assert [entry.name for entry in store.list("")] == ["refs/datasets/digits.json"]


def test_no_update_of_many_writers_is_lost(store: Store):
    def add(i: int) -> None:
        refs.update(store, "log", lambda value: {"all": [*(value or {"all": []})["all"], i]})

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(add, range(40)))
    value, _ = refs.get(store, "log")
    assert value is not None
    assert sorted(value["all"]) == list(range(40))


def test_a_change_that_changes_nothing_writes_nothing(store: Store):
    refs.update(store, "r", lambda _: {"v": 1})
    before = refs.get(store, "r")
    assert refs.update(store, "r", dict) == {"v": 1}
    assert refs.get(store, "r") == before


def test_an_error_in_a_change_leaves_the_ref(store: Store):
    refs.update(store, "r", lambda _: {"v": 1})
    with pytest.raises(ZeroDivisionError):
        refs.update(store, "r", lambda value: {"v": 1 // 0})
    assert refs.get(store, "r")[0] == {"v": 1}


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b"\xff"])
def test_a_broken_ref_is_named(store: Store, data: bytes):
    store.create("refs/r.json", data)
    with pytest.raises(LakeError, match=r"refs/r.json is not a ref"):
        refs.get(store, "r")


def test_giving_up_is_an_error(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(refs, "_TRIES", 3)
    rivals = 0

    def rivalled(value):
        nonlocal rivals
        rivals += 1
        now = store.get("refs/r.json")[1] if rivals > 1 else None
        store.swap("refs/r.json", b'{"rival": %d}' % rivals, now)
        return {"mine": 1}

    with pytest.raises(LakeError, match="changed by others 3 times") as caught:
        refs.update(store, "r", rivalled)
    assert not isinstance(caught.value, Conflict)
    assert refs.get(store, "r")[0] == {"rival": 3}
