"""How a crawl stands: read from the lake, while it runs or after."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawlers import rounds
from crawlers.known import AGAIN, DONE, HELD, NEW
from crawlers.rounds import Crawl
from dsray.schema import FETCH_ERRORS

_HOSTS = 10


@dataclass
class Status:
    """What `dsray crawl status` shows of one source."""

    source: str
    state: str  # not begun, running or stopped, done
    number: int  # of the crawl: how often the source was asked anew
    rounds: list[dict[str, Any]] = field(default_factory=list)  # chosen, fetched, pages, seconds of each
    urls: Counter[str] = field(default_factory=Counter)  # by state
    outcomes: Counter[str] = field(default_factory=Counter)
    hosts: list[tuple[str, int, int, int]] = field(default_factory=list)  # host, known, waiting, failed
    due: int = 0
    next_due: float | None = None


def status(crawl: Crawl) -> Status:
    """Reads round after round; a round in the making counts its committed segments."""
    begin, end = crawl.read("begin.json"), crawl.read("crawl.json")
    if begin is None:
        return Status(crawl.source, "not begun", crawl.number)
    told = Status(crawl.source, "done" if end else "running or stopped", crawl.number)
    state = crawl.read("round-00000/round.json")
    before: Counter[str] = Counter()
    seconds = 0.0
    while state is not None:
        last, counts = state, Counter(state["counts"])
        if state["round"]:
            told.rounds.append(_round(state, counts - before, state["seconds"] - seconds))
        before, seconds = counts, state["seconds"]
        state = crawl.read(f"round-{last['round'] + 1:05d}/round.json")
        if state is None:
            _count(told, list(rounds.tables_of(crawl.store, (end or last)["known"])))
            told.rounds += _unfinished(crawl, last["round"] + 1)
    return told


def _round(state: dict[str, Any], counts: Counter[str], seconds: float) -> dict[str, Any]:
    return {
        "round": state["round"], "chosen": state["chosen"], "pages": counts["pages"], "items": counts["items"],
        "unchanged": counts["unchanged"], "errors": sum(n for name, n in counts.items() if name.startswith("error:")),
        "seconds": seconds,
    }  # fmt: skip


def _unfinished(crawl: Crawl, number: int) -> list[dict[str, Any]]:
    """The round that is being fetched, by its committed segments."""
    chosen = crawl.read(f"round-{number:05d}/choose.json")
    if chosen is None:
        return []
    counts: Counter[str] = Counter()
    for entry in crawl.store.list(f"{crawl.root}/round-{number:05d}/"):
        if "/segment-" in entry.name:
            counts.update((rounds.read_json(crawl.store, entry.name) or {"counts": {}})["counts"])
    errors = Counter({f"error:{name}": n for name, n in counts.items() if name in FETCH_ERRORS})
    return [_round({"round": number, "chosen": chosen["chosen"]}, counts + errors, time.time() - chosen["at"])]


def _count(told: Status, tables: Sequence[pa.Table]) -> None:
    """Counts over what is known."""
    hosts: dict[str, list[int]] = {}
    now = time.time()
    for known in tables:
        told.urls.update(_counted(known["state"]))
        told.outcomes.update(_counted(known.filter(pc.is_valid(known["outcome"]))["outcome"]))
        waiting = pc.or_(pc.equal(known["state"], NEW), pc.equal(known["state"], AGAIN))
        failed = pc.and_(pc.is_valid(known["evidence"]), pc.is_in(known["state"], pa.array([DONE, HELD, AGAIN])))
        each = pa.table({"host": known["host"], "waiting": pc.cast(waiting, pa.int64()),
                         "failed": pc.cast(failed, pa.int64())})  # fmt: skip
        grouped = each.group_by("host").aggregate([("waiting", "sum"), ("failed", "sum"), ("host", "count")])
        for row in grouped.to_pylist():
            sums = hosts.setdefault(row["host"], [0, 0, 0])
            for at, name in enumerate(("host_count", "waiting_sum", "failed_sum")):
                sums[at] += row[name] or 0
        later = known.filter(pc.is_valid(known["due"]))["due"]
        told.due += int(pc.sum(pc.less_equal(later, now)).as_py() or 0)
        upcoming = pc.min(later.filter(pc.greater(later, now))).as_py()
        told.next_due = min(filter(None, (told.next_due, upcoming)), default=None)
    told.due += told.urls[NEW]
    ranked = sorted(hosts.items(), key=lambda item: (-item[1][1], -item[1][0], item[0]))
    told.hosts = [(host, *sums) for host, sums in ranked[:_HOSTS]]  # type: ignore[misc] # three sums


def _counted(column: pa.ChunkedArray) -> dict[str, int]:
    return {str(one["values"]): int(one["counts"]) for one in pc.value_counts(column).to_pylist()}
