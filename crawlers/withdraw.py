"""The end of a crawl: items that no page gives any more get a row that says so; then the snapshot is written.

An item is given when a page that could be read, and that reserves nothing, names it, or when the list of URLs does.
Whether it is given is asked of all pages at once, so it does not matter which of them was read first.
"""

import json
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from crawlers.known import AGAIN, DONE, HELD, ITEM, NEW, Known, records, table
from crawlers.rows import Row, withdrawn
from crawlers.rows import table as raw_table
from dsray.lake import shards

if TYPE_CHECKING:
    from crawlers.rounds import Crawl

U64 = NDArray[np.uint64]

_ROWS = 50_000


def finish(crawl: "Crawl", begin: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """Writes the withdrawn rows, what is known after them, and the crawl's snapshot, which it returns."""
    from crawlers import rounds

    given = given_of(crawl, rounds.tables_of(crawl.store, state["known"]))
    reserved: list[tuple[U64, str, str]] = []
    for known in rounds.tables_of(crawl.store, state["known"]):
        reserved += _refusals(known)
    number = state["round"] + 1
    buckets, found, errors, left = [], [], 0, 0
    for bucket, known in enumerate(rounds.tables_of(crawl.store, state["known"])):
        rows, changed = _withdrawn(crawl.source, known, given, reserved)
        for at in range(0, len(rows), _ROWS):
            receipt = shards.write_raw(crawl.store, crawl.source, raw_table(rows[at : at + _ROWS], crawl.fields))
            found.append(receipt.__dict__)
        errors += len(rows)
        left += int(pc.sum(pc.is_in(known["state"], pa.array([NEW, AGAIN]))).as_py() or 0)
        buckets.append(rounds.put(crawl, number, bucket, _with(known, changed)) if rows else
                       state["known"][bucket])  # fmt: skip
    before = rounds.read_json(crawl.store, f"{begin['base']}/crawl.json") if begin["base"] else None
    shards_ = list((before or {}).get("shards", []))
    done = [rounds.read_json(crawl.store, f"{crawl.root}/round-{n:05d}/round.json") for n in range(1, number)]
    shards_ += [shard for one in done if one for shard in one["shards"]] + found
    return crawl.write(
        "crawl.json",
        {
            "number": crawl.number, "base": begin["base"], "began": begin["began"], "ended": time.time(),
            "rounds": number - 1, "known": buckets, "sites": state.get("sites", ""), "urls": state["urls"],
            "counts": {**state["counts"], "withdrawn": errors}, "left": left, "seconds": state["seconds"],
            "shards": list({shard["name"]: shard for shard in shards_}.values()),
        },
    )  # fmt: skip


def given_of(crawl: "Crawl", tables: Iterable[pa.Table]) -> U64:
    """The sorted keys of all items that are given."""
    first = crawl.read("round-00000/round.json") or {}
    return np.unique(np.concatenate([np.frombuffer(crawl.store.read(first["listed"]), np.uint64),
                                     *(_names(known) for known in tables)]))  # fmt: skip


def _with(known: pa.Table, changed: list[Known]) -> pa.Table:
    """The records, some of them replaced."""
    keys = pa.array([one.key for one in changed], pa.uint64())
    others = known.filter(pc.invert(pc.is_in(known["key"], keys)))
    return pa.concat_tables([others, table(changed)]).sort_by("key")


def _names(known: pa.Table) -> U64:
    """Keys of the items that pages name which could be read, and reserve nothing."""
    pages = known.filter(
        pc.and_(pc.not_equal(known["kind"], ITEM), pc.fill_null(pc.equal(known["outcome"], "read"), False))
    )
    return pc.list_flatten(pages["names"]).to_numpy().astype(np.uint64) if pages.num_rows else np.zeros(0, np.uint64)


def _refusals(known: pa.Table) -> list[tuple[U64, str, str]]:
    """(sorted keys, error, evidence) of what pages name which reserve their items, or cannot be read any more."""
    pages = known.filter(pc.and_(pc.not_equal(known["kind"], ITEM), pc.equal(known["state"], DONE)))
    pages = pages.filter(pc.fill_null(pc.not_equal(pages["outcome"], "read"), False))
    found = []
    for page in records(pages):
        if len(page.names):
            error = page.outcome if page.outcome in ("opted_out", "robots") else "gone"
            evidence = page.evidence or ""
            if error == "gone":
                evidence = json.dumps({"signal": "page", "value": page.outcome, "where": page.url}, sort_keys=True)
            found.append((np.sort(np.array(page.names, np.uint64)), str(error), evidence))
    return found


def _withdrawn(
    source: str, known: pa.Table, given: U64, reserved: list[tuple[U64, str, str]]
) -> tuple[list[Row], list[Known]]:
    """The rows of items that are not given, and their records."""
    items = known.filter(pc.and_(pc.equal(known["kind"], ITEM), pc.is_valid(known["page"])))
    named_N = np.isin(items["key"].to_numpy(), given)
    held_N = pc.equal(items["state"], HELD).to_numpy(zero_copy_only=False)
    kept_N = pc.is_valid(items["digest"]).to_numpy(zero_copy_only=False)
    wrong_N = held_N & pc.fill_null(pc.equal(items["outcome"], "invalid"), False).to_numpy(zero_copy_only=False)
    wanted = items.filter(pa.array((~named_N & (held_N | kept_N)) | wrong_N))
    rows, changed = [], []
    for item in records(wanted):
        error, evidence = _why(item, reserved)
        row = withdrawn(source, item, error, evidence)
        if row["id"] != item.row:
            rows.append(row)
            item.state, item.outcome, item.evidence, item.row = HELD, error, evidence, row["id"]
            item.digest = item.etag = item.modified = None
            changed.append(item)
    return rows, changed


def _why(item: Known, reserved: list[tuple[U64, str, str]]) -> tuple[str, str]:
    """The error and its evidence: what a page reserves, before what is only gone."""
    if item.outcome == "invalid" and item.evidence:
        return item.outcome, item.evidence
    found = [(error, evidence) for keys, error, evidence in reserved if _holds(keys, item.key)]
    for wanted in ("opted_out", "robots", "gone"):
        for error, evidence in found:
            if error == wanted:
                return error, evidence
    if item.state == HELD and item.outcome and item.evidence:
        return item.outcome, item.evidence
    return "gone", json.dumps({"signal": "page", "value": "names it no more", "where": item.page}, sort_keys=True)


def _holds(keys: U64, key: int) -> bool:
    at = int(np.searchsorted(keys, np.uint64(key)))
    return at < len(keys) and int(keys[at]) == key
