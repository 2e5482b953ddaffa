"""Which rows are meant: named in any way, and what is like them."""

import numpy as np
import pyarrow as pa
import pytest

from dsray.errors import RecipeError
from dsray.forget import find, releases
from dsray.forget.find import Request
from dsray.lake import manifests, refs, shards
from dsray.lake.tombstones import mark
from dsray.stages.step import Step
from lakes import families, rows

COUNT = 40


@pytest.fixture
def known(store):
    """(rows, lake) of one dataset whose raw shards lie where crawls put them: rows 3 and 4 have the same bytes, 5 and 6
    signatures that differ in two bits, 7 and 8 share a cluster."""
    made = rows(COUNT)
    made[4]["digest"] = made[3]["digest"]
    made[6]["signature"] = made[5]["signature"] ^ 0b101
    clusters = {8: made[7]["id"]}
    found = families(store, made, [15, 25])
    moved, start = [], 0
    for raw, facts, labels in found:
        part = made[start : start + raw.rows]
        ids = [row["id"] for row in part]
        of = [clusters.get(start + n, row_id) for n, row_id in enumerate(ids)]
        verdicts = pa.table({"id": ids, "cluster": of})
        table, final = shards.read(store, raw), pa.array([row["url"] + "?x" for row in part])
        table = table.set_column(table.column_names.index("final_url"), "final_url", final)
        store.delete(raw.name)
        moved.append((shards.write_raw(store, "web", table), facts, labels, shards.write_named(store, "v", verdicts)))
        start += raw.rows
    steps, raws = {}, [family[0].digest for family in moved]
    for place, name in enumerate(("collect", "measure", "label", "select")):
        params = {"select": {"duplicates": {"radius": 2}}}
        step = Step(name, name, 1, params, raws if place else [])
        made_of = [family[place] for family in moved]
        if name == "collect":  # `dsray crawl run` went on since: nothing was made of that yet
            made_of = [shards.write_raw(store, "web", table.slice(0, 3)), *reversed(made_of)]
        manifests.publish(store, step.manifest(made_of, {}))
        steps[name] = step.key
    refs.update(store, "builds/digits", lambda _: {"steps": steps})
    return made, store


def places(known, **asked) -> list[int]:
    made, store = known
    ids = set(find.find(store, Request(**asked)).column("id"))
    return [n for n, row in enumerate(made) if row["id"] in ids]


def test_by_url_page_host_id_and_source(known):
    made, _ = known
    assert places(known, urls=(made[0]["url"],)) == places(known, urls=(made[0]["url"] + "?x",)) == [0]
    assert places(known, ids=(made[9]["id"], "unknown")) == [9]
    assert places(known, urls=(made[10]["page"],)) == [10]
    assert places(known, hosts=("HOST2.org",), only=True) == list(range(2, COUNT, 7))
    assert places(known, sources=("web",)) == list(range(COUNT))
    assert places(known, urls=("http://nowhere.org/",)) == []


def test_what_is_like_a_row_goes_with_it_unless_only_it_is_meant(known):
    made, _ = known
    for first, like in ((3, [3, 4]), (5, [5, 6]), (8, [7, 8])):
        assert places(known, ids=(made[first]["id"],)) == like
        assert places(known, ids=(made[first]["id"],), only=True) == [first]


def test_by_a_question_to_facts_and_labels(known):
    made, _ = known
    expected = [n for n, row in enumerate(made) if row["blur"] < 60 and row["label"] == "1"]
    assert places(known, where="blur < 60 and label == '1'", only=True) == expected
    with pytest.raises(RecipeError, match="No dataset of this lake has colour"):
        places(known, where="colour == 3")
    with pytest.raises(RecipeError, match="cannot be answered"):
        places(known, where="blur == 'much'")


def test_rows_that_only_a_release_holds_are_found(known):
    made, store = known
    url = "http://gone.org/1"

    def release(**columns):
        plain = {name: pa.array([None] * 3, pa.string()) for name in ("parent", "source", "url", "page", "model")}
        shards.write(store, "releases/digits/v1/train/real-00000-of-00001.parquet", pa.table({**plain, **columns}))

    release(id=["gone", "child", "drawn"], parent=[None, "lost", None], source=["disk", "disk", "disk"],
            url=[url, url + "?child", None], model=[None, None, "gan"])  # fmt: skip
    found = find.find(store, Request(urls=(url,)))
    assert (found.column("id"), found.shards, found.rows(), found.asked) == (["gone"], {}, {"disk": 1}, {"gone"})
    assert find.find(store, Request(hosts=("gone.org",))).column("url") == [url, url + "?child"]
    assert find.find(store, Request(sources=("disk",), only=True)).column("id") == ["gone", "lost"]
    assert releases.concerned(store, frozenset([mark("gone")]), set()) == [("digits", 1)]
    assert releases.concerned(store, frozenset([mark(made[0]["id"])]), set()) == []


def test_signatures_of_the_rows_are_kept_for_later_ones(known):
    made, store = known
    found = find.find(store, Request(ids=(made[5]["id"],)))
    assert find.signatures(store, found) == sorted({made[5]["signature"], made[6]["signature"]})
    assert np.bitwise_count(np.uint64(made[5]["signature"] ^ made[6]["signature"])) == 2
