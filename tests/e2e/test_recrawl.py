"""The second crawl of a dataset: what changed on the site, and nothing else, is different in the next build."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from fetching import AGENT, ITEM, Site, image, page, path_of

from dsray import build, dataset, recipe
from dsray.lake import shards
from rows import drawing, png
from runs import Silent, lake

PICTURES = [f"/{at}.png" for at in range(60)]


@pytest.fixture
def answers():
    """Six pages of ten drawings."""
    pages = {f"/page/{at}": page(*PICTURES[10 * at : 10 * at + 10]) for at in range(6)}
    made = {path: image(png(drawing(seed, 48))) for seed, path in enumerate(PICTURES)}
    return {"/": page(links=tuple(pages)), **pages, **made}


def released(store, name: str) -> dict[str, tuple[str, bytes]]:
    """URL path → caption and image, of a release."""
    version = dataset.find(store, name)
    rows = [row for receipt in version.shards() for row in shards.read(store, receipt).to_pylist()]
    return {path_of(row["url"]): (row["caption"], row["image"]["bytes"]) for row in rows}


def test_one_flipped_header_one_changed_and_one_removed_page_are_exactly_three_differences(
    answers, ray_session, tmp_path: Path
):
    site = Site(answers, etags=True)
    crawl = {"start": [site.url], "item": ITEM, "user_agent": AGENT, "allow_private": True}
    said = {
        "dataset": "drawings",
        "collect": {"web": {"crawl": crawl}},
        "label": [{"pattern": {"column": "caption", "regex": r"digit of (\S+)"}}],
        "select": {"drop": {}, "duplicates": {"exact": True}},
        "render": {"side": 32, "mode": "L"},
    }
    wanted = recipe.model().model_validate(said)
    with lake(tmp_path / "lake") as store:
        build.run(wanted, store, Silent())
        first = released(store, "drawings@v1")
        assert first.keys() == set(PICTURES)

        status, headers, body = answers["/7.png"]
        answers["/7.png"] = (status, {**headers, "X-Robots-Tag": "noai"}, body)  # flipped
        changed = [path.replace("/20.png", "/new.png") for path in PICTURES[20:30]]
        status, headers, body = page(*changed)
        body = body.replace(b"digit of /21.png", b"digit of nobody")
        answers["/page/2"] = (status, headers, body)  # changed: another picture, and another caption
        answers["/new.png"] = image(png(drawing(99, 48)))
        del answers["/page/5"]  # removed, though its pictures still lie there
        asked = len(site.hits)
        build.run(wanted, store, Silent(), recrawl="all")
        second = released(store, "drawings@v2")
        quarantine = build.run(wanted, store, Silent()).made["select"]
        verdicts = pa.concat_tables(shards.read(store, receipt) for receipt in quarantine.shards).to_pylist()
        raw = pa.concat_tables(
            shards.read(store, receipt, ["id", "url", "error", "evidence"]) for receipt in collected(store, wanted)
        ).to_pylist()
    site.close()
    gone = {"/7.png", "/20.png", *PICTURES[50:60]}
    assert first.keys() - second.keys() == gone
    assert second.keys() - first.keys() == {"/new.png"}
    assert {path for path in first.keys() & second.keys() if second[path] != first[path]} == {"/21.png"}
    assert second["/21.png"] == ("digit of nobody", first["/21.png"][1])

    rules = {}
    for row, verdict in zip(raw, verdicts, strict=True):
        assert row["id"] == verdict["id"]
        if verdict["rule"]:
            rules.setdefault(path_of(row["url"]), set()).add(verdict["rule"])
    assert rules.pop("/7.png") == {"superseded", "opted_out"}
    assert rules.pop("/page/5") == {"http_status"}
    assert rules.pop("/21.png") == {"superseded"}
    assert rules == {path: {"superseded", "gone"} for path in gone - {"/7.png"}}
    evidence = [json.loads(row["evidence"]) for row in raw if row["error"] == "opted_out"]
    assert [(one["signal"], one["value"]) for one in evidence] == [("x-robots-tag", "noai")]

    again = site.hits[asked:]
    assert not set(PICTURES[50:60]) & set(again)  # pages first: nobody asks for what no page names
    assert {"/", "/page/0", *PICTURES[:5]} <= set(site.unchanged)
    assert len(again) == len(set(again))


def collected(store, wanted: recipe.Recipe):
    return build.run(wanted, store, Silent()).made["collect"].shards
