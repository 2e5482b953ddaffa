"""dsray.upkeep.reach: what crawls keep, and what is kept together."""

import json
from datetime import UTC, datetime, timedelta

from dsray.lake import refs
from dsray.lake.store import Store
from dsray.upkeep.reach import Reach, reach

NOW = datetime.now(UTC) + timedelta(hours=1)
LATER = NOW + timedelta(days=40)


def said(store: Store, name: str, **value) -> str:
    store.create(name, json.dumps(value).encode())
    return name


def found(store: Store, now: datetime = NOW) -> Reach:
    return reach(store, list(store.list("")), now, now)


def test_an_ended_crawl_keeps_what_the_next_one_reads_and_its_wanted_answers(store: Store):
    root = "crawls/web/aa"
    said(store, f"{root}/begin.json", base=None)
    said(
        store, f"{root}/crawl.json", shards=[{"name": "raw/web/1.parquet"}], known=[{"name": f"{root}/known"}], sites=""
    )
    for name in ("round-00001/round.json", "known", "round-00001/0000/list-1", "round-00001/0000/answers-0.warc.gz"):
        store.create(f"{root}/{name}", b"{}")
    refs.update(store, "crawls/web/front", lambda _: {"last": root})
    for now in (NOW, LATER):
        keeps = found(store, now)
        assert keeps.holds("raw/web/1.parquet") and keeps.holds(f"{root}/known") and keeps.holds(f"{root}/begin.json")
        assert keeps.holds(f"{root}/round-00001/0000/answers-0.warc.gz")
        assert not keeps.holds(f"{root}/round-00001/0000/list-1")


def test_the_crawls_that_the_last_one_builds_on_keep_how_they_went_and_their_answers(store: Store):
    roots = [f"crawls/web/{name}" for name in ("aa", "bb", "cc")]
    for number, root in enumerate(roots):
        said(store, f"{root}/begin.json", base=roots[number - 1] if number else None)
        known = [{"name": f"{root}/known"}]
        said(store, f"{root}/crawl.json", shards=[{"name": "raw/web/1.parquet"}], known=known, sites="")
        for name in ("round-00001/round.json", "known", "round-00001/0000/answers-0.warc.gz"):
            store.create(f"{root}/{name}", b"{}")
    refs.update(store, "crawls/web/front", lambda _: {"last": roots[-1]})
    keeps = found(store, LATER)
    for root in roots:
        assert keeps.holds(f"{root}/known") == (root == roots[-1])
        for name in ("begin.json", "crawl.json", "round-00001/round.json", "round-00001/0000/answers-0.warc.gz"):
            assert keeps.holds(f"{root}/{name}"), f"{root}/{name}"
    store.delete(f"{roots[0]}/crawl.json")
    assert f"{roots[0]}/crawl.json" not in found(store, LATER).why, "what is gone already is no hole"


def test_a_crawl_under_way_keeps_all_and_its_base_for_a_month(store: Store):
    base, root = "crawls/web/aa", "crawls/web/bb"
    said(store, f"{base}/begin.json", base=None)
    said(store, f"{base}/crawl.json", shards=[{"name": "raw/web/old"}], known=[{"name": f"{base}/known"}], sites="")
    said(store, f"{root}/begin.json", base=base)
    said(store, f"{root}/round-00001/round.json", shards=[{"name": "raw/web/new"}])
    said(store, f"{root}/round-00002/0000/segment-00000.json", shard={"name": "raw/web/newest"}, log={"name": "x"})
    kept = ("raw/web/old", "raw/web/new", "raw/web/newest", f"{base}/known", f"{base}/crawl.json", f"{root}/anything")
    assert all(found(store).holds(name) for name in kept)
    assert not any(found(store, LATER).holds(name) for name in kept)


def test_folders_whose_objects_belong_together_stay_as_long_as_one_of_them_is_young(store: Store):
    for name in ("models/k/checkpoints/0-000000001.safetensors", "releases/digits/v2/claim.json", "shards/gather/x"):
        store.create(name, b"{}")
    early = NOW - timedelta(days=1)
    keeps = reach(store, list(store.list("")), early, NOW)
    for name in ("models/k/checkpoints/0-000000001.safetensors", "releases/digits/v2/train/real.parquet"):
        assert keeps.holds(name)
    assert keeps.holds("shards/gather/x") and not keeps.holds("shards/gather/y")


def test_a_record_that_cannot_be_read_is_told_of(store: Store):
    store.create("crawls/web/aa/begin.json", b"nonsense")
    assert list(found(store).unread) == ["crawls/web/aa/begin.json"]
