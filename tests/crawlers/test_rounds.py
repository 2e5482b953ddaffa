"""crawlers.rounds: partitions hand over, whoever dies goes on, budgets grow, and silence leaves the crawl to begin."""

from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from fetching import crawl_of, crawled, crawled_rows, image, page, path_of, quick, rows

from crawlers import rounds
from dsray.errors import LakeError, UnreachedError
from dsray.lake.store import Store, open_store


def test_links_to_another_domain_are_asked_in_the_next_round_by_who_keeps_it(site, job):
    second: dict[str, Any] = {"/two": page("/b.png"), "/b.png": image(b"B")}
    other = site(second, "127.0.0.2")
    first = site({"/": page("/a.png", other.url + "c.png", links=(other.url + "two",)), "/a.png": image(b"A")})
    second["/c.png"] = image(b"C")
    second["/two"] = page("/b.png", first.url + "a.png", links=(first.url,))
    said = job(first.url, scope="any")
    asked: list[list[dict[str, Any]]] = []

    def watched(jobs: list[dict[str, Any]]) -> list[Any]:
        asked.append(jobs)
        return quick(jobs)

    end = rounds.run(crawl_of(said), watched)
    assert {path_of(url): row["payload"] for url, row in crawled_rows(said, end).items()} == {
        "/a.png": b"A", "/b.png": b"B", "/c.png": b"C"
    }  # fmt: skip
    assert [len(jobs) for jobs in asked] == [1, 1] and end["rounds"] == 2
    for small in (first, other):
        assert len(small.hits) == len(set(small.hits)), "nothing is asked twice"


class Watched:
    """A store that keeps a copy of the lake after every write."""

    def __init__(self, store: Store, copies: Path) -> None:
        self.store = store
        self.copies = copies
        self.count = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def create(self, name: str, data: bytes, *meta: Any) -> bool:
        made = self.store.create(name, data, *meta)
        self._copy()
        return made

    def swap(self, name: str, data: bytes, etag: str | None) -> str:
        swapped = self.store.swap(name, data, etag)
        self._copy()
        return swapped

    def _copy(self) -> None:
        copytree(self.store.url.removeprefix("file://"), self.copies / f"{self.count:03d}")
        self.count += 1


def test_killed_after_any_write_and_run_again_a_crawl_ends_the_same(site, job, tmp_path):
    far = site({"/two": page("/b.png"), "/b.png": image(b"B")}, "127.0.0.2")
    answers = {"/": page("/a.png", "/no.png", "http://[::1", links=(far.url + "two",)), "/a.png": image(b"A")}
    said = job(site(answers).url, scope="any")
    crawl = crawl_of(said)
    crawl.store = watched = Watched(crawl.store, tmp_path / "killed")  # type: ignore[assignment] # as far as asked
    whole = rounds.run(crawl, quick)
    ids = sorted(row["id"] for row in rows(said, whole))
    assert len(ids) == len(set(ids)) == 4
    assert watched.count > 15
    for lake in sorted((tmp_path / "killed").iterdir()):
        again = {**said, "lake": f"file://{lake}"}
        end = crawled(again)
        assert sorted(row["id"] for row in rows(again, end)) == ids, lake.name
        assert end["counts"] == whole["counts"] and end["rounds"] == whole["rounds"], lake.name
        assert crawled(again) == end


def test_an_error_of_the_lake_is_told_and_what_was_done_is_kept(site, job):
    small = site({"/": page("/a.png"), "/a.png": image(b"A")})
    said = job(small.url)
    crawl = crawl_of(said)
    real = crawl.store

    class Full:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def create(self, name: str, data: bytes, *meta: Any) -> bool:
            if name.endswith("round-00001/round.json"):
                raise LakeError("The lake is full.")
            return real.create(name, data, *meta)

    crawl.store = Full()  # type: ignore[assignment] # as far as asked
    with pytest.raises(LakeError, match="full"):
        rounds.run(crawl, quick)
    asked = len(small.hits)
    assert len(crawled_rows(said)) == 1 and len(small.hits) == asked


def chain(length: int) -> dict[str, Any]:
    """A page links to the next; each shows a picture."""
    pages = {f"/{at}": page(f"/{at}.png", links=(f"/{(at + 1) % length}",)) for at in range(length)}
    return {"/": page(links=("/0",)), **pages, **{f"/{at}.png": image(b"%d" % at) for at in range(length)}}


def test_a_larger_budget_goes_on_where_the_smaller_one_ended(site, job):
    small = site(chain(6))
    said = job(small.url, budget={"pages": 3})
    first = crawled(said)
    assert {path_of(url) for url in crawled_rows(said, first)} == {"/0.png", "/1.png"}
    small.hits.clear()
    end = crawled(said, budget={"pages": 30}, concurrency=4)
    assert {path_of(url) for url in crawled_rows(said, end)} == {f"/{at}.png" for at in range(6)}
    assert {path for path in small.hits if path != "/robots.txt"} >= {"/2", "/5", "/5.png"}
    assert not {"/", "/0", "/1", "/0.png", "/1.png"} & set(small.hits), "what was asked is not asked again"
    assert crawl_of(said).ref == crawl_of({**said, "budget": {"pages": 30}}).ref
    assert crawl_of(said).ref != crawl_of({**said, "follow": "a.next::attr(href)"}).ref


def test_a_budget_of_a_host_holds_over_all_rounds(site, job):
    many = {f"/{at}": page(f"/{at}.png") for at in range(9)}
    near = site({"/": page(links=tuple(many)), **many})
    said = job(near.url, budget={"host": {"pages": 4}}, round_minutes=0.05)
    crawled(said)
    assert len([path for path in near.hits if path == "/" or path in many]) == 4


def test_budgets_of_rounds_and_depth_end_a_crawl(site, job):
    far = site({"/x": page("/far.png")}, "127.0.0.2")
    small = site({**chain(4), "/": page(links=("/0", far.url + "x"))})
    end = crawled(job(small.url, scope="any", budget={"rounds": 1, "depth": 2}))
    assert end["rounds"] == 1 and far.hits == []
    assert {path for path in small.hits if "." not in path} == {"/", "/0", "/1"}


def test_nobody_answering_is_told_and_leaves_the_crawl_to_begin_again(site, job):
    answers = {"/": page("/a.png"), "/a.png": image(b"A")}
    gone = site(answers)
    gone.close()
    said = job(gone.url, retry={"times": 1, "wait_s": 0})
    with pytest.raises(UnreachedError, match=gone.url):
        crawled(said)
    names = [entry.name for entry in open_store(said["lake"]).list("")]
    assert not any(word in name for name in names for word in ("segment-", "crawl.json", "raw/", "refs/"))
    site(answers, port=gone.port)
    assert [row["payload"] for row in crawled_rows(said).values()] == [b"A"]


def test_a_site_that_is_silent_among_others_costs_its_own_rows_only(site, job):
    good = site({"/": page("/a.png"), "/a.png": image(b"A")})
    silent = site({}, "127.0.0.2")
    silent.close()
    said = job(good.url, silent.url, retry={"times": 2, "wait_s": 0.05})
    got = crawled_rows(said)
    assert {url: row["error"] for url, row in got.items()} == {good.url + "a.png": None, silent.url: "unreachable"}
