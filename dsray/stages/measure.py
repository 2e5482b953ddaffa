"""raw → facts: the same rows in the same order, without the payload. Measured once; thresholds live in the recipe."""

import multiprocessing
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from dsray import plugin, schema
from dsray.kinds import code, kind
from dsray.lake.manifests import Manifest
from dsray.lake.shards import name_of
from dsray.recipe import Recipe
from dsray.stages.step import Made, Step, Work, balance, digests

VERSION = 2

_ROW_LIMIT_S = 60
_ROW_LIMIT_BYTES = 4 * 2**30  # beyond what the worker has mapped: Ray's object store alone may be more


def step(recipe: Recipe, made: Made) -> Step:
    signals = recipe.measure.signals
    params = {"kind": recipe.kind, "signals": signals, "code": plugin.versions([*signals.values(), *code(recipe.kind)])}
    return Step("measure", "measure", VERSION, params, digests(made["collect"]))


def run(step: Step, made: Made, work: Work) -> Manifest:
    from dsray.engine import shards

    raw = made["collect"]
    works = [shards.Work(name_of("measure", step.shard_key(r)), [(r, ["id", "digest", "payload"])]) for r in raw.shards]
    fn = partial(facts, kind_name=work.recipe.kind, signals=work.recipe.measure.signals)
    receipts = shards.map_shards(
        work.store,
        works,
        fn,
        work.progress.rows(raw.counts["kept"]),
    )
    return step.manifest(receipts, balance(sum(r.rows for r in receipts)))


def facts(
    raw: pa.Table, *, kind_name: str, signals: Mapping[str, str] = {}, careful: bool = False
) -> tuple[pa.Table, dict[str, int]]:
    """One fact row per raw row. A payload that cannot be decoded gets `error`; nothing is dropped here.

    With `careful` every row is decoded in a child process with limits, and one that kills it gets `crashed`.
    """
    own = {name: plugin.load(function) for name, function in signals.items()}
    measure = partial(kind(kind_name).measure, own=own)
    of_own = pa.schema([(name, pa.float64()) for name in own])
    columns = pa.unify_schemas([schema.FACTS, kind(kind_name).FACTS, of_own])
    one = partial(in_child, measure) if careful else partial(guarded, measure)
    payloads = (value.as_py() for value in raw["payload"])  # one at a time: a list would hold the shard twice
    rows = [
        {"id": i, "digest": d, **one(p)}
        for i, d, p in zip(raw["id"].to_pylist(), raw["digest"].to_pylist(), payloads, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=columns), {}


def guarded(measure: Callable[[bytes | None], dict[str, Any]], payload: bytes | None) -> dict[str, Any]:
    """A row that raises is a row with an error."""
    try:
        return measure(payload)
    except Exception as error:  # any bytes at all must end as a row
        return {"error": f"failed: {type(error).__name__}"}


def in_child(measure: Callable[[bytes | None], dict[str, Any]], payload: bytes | None) -> dict[str, Any]:
    """Measures one payload in a process of its own, with limits of memory and time."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_limited, args=(measure, payload, there), daemon=True)
    child.start()
    there.close()
    try:
        found: dict[str, Any] = here.recv() if here.poll(_ROW_LIMIT_S) else {"error": "crashed"}
    except EOFError:
        found = {"error": "crashed"}
    finally:
        child.kill()
        child.join(timeout=10)
        here.close()
    return found


def _limited(measure: Callable[[bytes | None], dict[str, Any]], payload: bytes | None, there: Any) -> None:
    import resource

    with suppress(OSError):  # only Linux says it, and only there this limit holds
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + _ROW_LIMIT_BYTES, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    there.send(guarded(measure, payload))
    there.close()
