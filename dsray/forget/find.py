"""The rows that are to be forgotten: those that are asked for, and, unless only they are meant, whatever has the same
bytes or stands in the same cluster of duplicates. Reads columns, never a payload.

Raw shards hold them, and releases may hold some that no raw shard has any more."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dsray.errors import RecipeError
from dsray.forget.where import parse
from dsray.lake import manifests, refs, shards
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt
from dsray.lake.store import Store
from dsray.stages.choose.forgotten import distances

COLUMNS = ["id", "source", "url", "final_url", "page", "digest"]
_THREADS = 16
_HOST = r"^[A-Za-z][A-Za-z0-9+.\-]*://(?:[^/@?#]*@)?(?P<host>\[[^\]]*\][^/?#]*|[^/?#]+)"


@dataclass(frozen=True)
class Request:
    """What a person asks to be forgotten: rows that any of these names."""

    urls: tuple[str, ...] = ()  # of the payload, where it came from, or of the page that named it
    hosts: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    where: str | None = None
    only: bool = False  # without duplicates and near-duplicates

    def counts(self) -> dict[str, int]:
        """What it asks by, and how often: all that an order says of it."""
        said = {"url": len(self.urls), "host": len(self.hosts), "id": len(self.ids), "source": len(self.sources),
                "where": int(self.where is not None)}  # fmt: skip
        return {name: count for name, count in said.items() if count}

    def spelt(self) -> set[str]:
        """The URLs as they are written, and as a crawl spells them."""
        from crawlers.urls import resolve

        return {*self.urls, *filter(None, (resolve(url, url) for url in self.urls))}


_RELEASED = ["id", "parent?", "source", "url", "page", "model?"]


@dataclass
class Found:
    """Rows by the raw shard that holds them, and those that only releases hold."""

    shards: dict[str, pa.Table] = field(default_factory=dict)  # raw shard → COLUMNS of its rows that go
    released: pa.Table = field(default_factory=lambda: pa.table({}))  # COLUMNS of the others, as far as releases tell
    asked: set[str] = field(default_factory=set)  # ids of the rows that were asked for; the others are like one of them

    def column(self, name: str) -> list[str]:
        """The different values of a column, sorted."""
        return sorted({one for table in self._tables(name) for one in table[name].to_pylist() if one is not None})

    def rows(self) -> dict[str, int]:
        """Source → rows."""
        return dict(sorted(Counter(s for table in self._tables("source") for s in table["source"].to_pylist()).items()))

    def _tables(self, column: str) -> list[pa.Table]:
        return [table for table in (*self.shards.values(), self.released) if column in table.column_names]


def find(store: Store, request: Request) -> Found:
    """All rows of the lake that the request reaches."""
    named = set(request.ids) | (_answer(store, request.where) if request.where else set())
    asked = partial(_asked, request=request, ids=_texts(named))
    found = Found(dict(_scan(store, asked)))
    found.released = _released(store, asked, found)
    found.asked = set(found.column("id"))
    while not request.only:
        ids, digests = set(found.column("id")), found.column("digest")
        more = ids | _twins(store, ids)
        found.shards = dict(_scan(store, partial(_same, ids=_texts(more), digests=_texts(digests))))
        found.released = _released(store, partial(_same, ids=_texts(more)), found)
        if set(found.column("id")) == ids:
            break
    return found


def builds(store: Store) -> dict[str, dict[str, Manifest]]:
    """Dataset → the steps of its last build that stand."""
    found: dict[str, dict[str, Manifest]] = {}
    for entry in store.list("refs/builds/"):
        dataset = entry.name.removeprefix("refs/builds/").removesuffix(".json")
        value, _ = refs.get(store, f"builds/{dataset}")
        steps = (value or {}).get("steps", {})
        made = {name: manifests.find(store, name.split()[0], key) for name, key in steps.items()}
        found[dataset] = {name: manifest for name, manifest in made.items() if manifest}
    return found


def signatures(store: Store, found: Found) -> list[int]:
    """What near-duplicates of the rows would share most bits of, from the facts of the last builds."""
    ids = _texts(found.column("id"))

    def of(facts: Receipt) -> list[int]:
        table = shards.read(store, facts, ["id", "signature?"])
        if "signature" not in table.column_names:
            return []
        return list(table.filter(pc.is_in(table["id"], ids))["signature"].drop_null().to_pylist())

    raws = _receipts(store, found.shards)
    made_of = [_made_of(made, "measure") for made in builds(store).values()]
    facts = {receipt.name: receipt for measured in made_of for raw, receipt in measured.items() if raw in raws}
    return sorted({one for part in _parallel(of, facts.values()) for one in part})


def _scan(store: Store, wanted: Callable[[pa.Table], pa.ChunkedArray]) -> Iterator[tuple[str, pa.Table]]:
    """(raw shard, its rows that are wanted), of all raw shards of the lake, whoever names them."""

    def one(name: str) -> tuple[str, pa.Table]:
        receipt = shards.adopt(store, name)
        if receipt is None:
            return name, pa.table({})
        table = shards.read(store, receipt, COLUMNS)
        return name, table.filter(wanted(table))

    for name, table in _parallel(one, [entry.name for entry in store.list("raw/")]):
        if table.num_rows:
            yield name, table


def _released(store: Store, wanted: Callable[[pa.Table], pa.ChunkedArray], found: Found) -> pa.Table:
    """The rows of releases, or those that augmented ones are made of, that are wanted and in none of the raw shards
    that were found. A source that was read again, and `gc`, may have left them there alone."""

    def one(name: str) -> pa.Table:
        receipt = shards.adopt(store, name)
        if receipt is None:
            return empty
        table = shards.read(store, receipt, _RELEASED)
        if "model" in table.column_names:
            table = table.filter(pc.is_null(table["model"]))
        if "parent" in table.column_names:
            table = table.set_column(0, "id", pc.coalesce(table["parent"], table["id"]))
        table = table.select(empty.column_names)
        return table.filter(wanted(table))

    empty = pa.table({name: pa.array([], pa.string()) for name in ("id", "source", "url", "page")})
    known = {row for table in found.shards.values() for row in table["id"].to_pylist()}
    names = [entry.name for entry in store.list("releases/") if entry.name.endswith(".parquet")]
    rows = {row["id"]: row for table in _parallel(one, names) for row in table.to_pylist() if row["id"] not in known}
    return pa.Table.from_pylist(list(rows.values()), empty.schema)


def _asked(raw: pa.Table, request: Request, ids: pa.Array) -> pa.ChunkedArray:
    flags = pc.or_(pc.is_in(raw["id"], ids), pc.is_in(raw["source"], _texts(request.sources)))
    urls = _texts(request.spelt())
    places = [column for column in ("url", "final_url", "page") if column in raw.column_names]
    for column in places:
        flags = pc.or_(flags, pc.is_in(raw[column], urls))
    if request.hosts:
        hosts = _texts(host.lower() for host in request.hosts)
        for column in places:
            of = pc.utf8_lower(pc.struct_field(pc.extract_regex(raw[column], _HOST), [0]))
            flags = pc.or_(flags, pc.is_in(of, hosts))
    return flags


def _same(rows: pa.Table, ids: pa.Array, digests: pa.Array | None = None) -> pa.ChunkedArray:
    flags = pc.is_in(rows["id"], ids)
    return flags if digests is None else pc.or_(flags, pc.is_in(rows["digest"], digests))


def _twins(store: Store, ids: set[str]) -> set[str]:
    """The rows that share a cluster with one of these, in any dataset."""
    wanted, found = _texts(ids), set[str]()
    for made in builds(store).values():
        if "select" not in made:
            continue
        read = partial(shards.read, store, columns=["id", "cluster"])
        tables = list(_parallel(read, made["select"].shards))
        of = {one for table in tables for one in table.filter(pc.is_in(table["id"], wanted))["cluster"].to_pylist()}
        for table in tables:
            found.update(table.filter(pc.is_in(table["cluster"], _texts(of)))["id"].to_pylist())
        radius = made["select"].params["select"]["duplicates"]["radius"]
        if radius is not None and "measure" in made:
            found |= _near(store, made["measure"].shards, wanted, radius)
    return found


def _near(store: Store, facts: Sequence[Receipt], ids: pa.Array, radius: int) -> set[str]:
    """The rows whose signature is within the radius of one of these: those too that stand in no cluster, since a rule
    of their own dropped them."""
    read = partial(shards.read, store, columns=["id", "signature?"])
    tables = [table for table in _parallel(read, facts) if "signature" in table.column_names]
    tables = [table.filter(pc.is_valid(table["signature"])) for table in tables]
    of = [table.filter(pc.is_in(table["id"], ids))["signature"].to_numpy() for table in tables]
    signatures = np.unique(np.concatenate([*of, np.zeros(0, np.uint64)]))
    if not len(signatures):
        return set()
    near = [pa.array(distances(table["signature"].to_numpy(), signatures) <= radius) for table in tables]
    return {one for table, flags in zip(tables, near, strict=True) for one in table["id"].filter(flags).to_pylist()}


def _answer(store: Store, question: str) -> set[str]:
    """Ids of the rows of last builds for which it is true. Raises RecipeError where no dataset has its columns."""
    expression, columns = parse(question)
    found, lacking, ids = False, set(columns), set[str]()
    raws = _receipts(store, (entry.name for entry in store.list("raw/")))
    one = partial(_true, store=store, expression=expression, columns=columns)
    for made in builds(store).values():
        facts, labels = _made_of(made, "measure"), _made_of(made, "label")
        families = [(raws[raw], facts[raw], labels[raw]) for raw in facts if raw in labels and raw in raws]
        for part, lacks in _parallel(one, families):
            lacking &= lacks
            found = found or not lacks
            ids.update(part)
    if not found:
        raise RecipeError(
            f"No dataset of this lake has {', '.join(sorted(lacking or columns))}.",
            "Ask by columns of raw rows, facts (a recipe's signals) or labels.",
        )
    return ids


def _made_of(made: Mapping[str, Manifest], stage: str) -> dict[str, Receipt]:
    """A raw shard's digest → what a stage made of it. Its manifest says of which, since `collect` may be newer."""
    return dict(zip(made[stage].inputs, made[stage].shards, strict=False)) if stage in made else {}


def _receipts(store: Store, raws: Iterable[str]) -> dict[str, Receipt]:
    """The receipts of raw shards by digest."""
    return {receipt.digest: receipt for receipt in _parallel(partial(shards.adopt, store), raws) if receipt}


def _true(
    family: Sequence[Receipt], *, store: Store, expression: pc.Expression, columns: set[str]
) -> tuple[list[str], set[str]]:
    """The ids of a family's rows for which it is true, and the columns that it lacks: then none."""
    asked = [f"{name}?" for name in sorted(columns - {"payload"})]
    found: dict[str, pa.ChunkedArray] = {}
    for receipt in family:
        part = shards.read(store, receipt, ["id", *asked])
        found = {
            **dict(zip(part.column_names, part.columns, strict=True)),
            **found,
        }  # the first that has a column counts
    table = pa.table(found)
    lacks = columns - set(table.column_names)
    if lacks:
        return [], lacks
    try:
        return table.filter(expression)["id"].to_pylist(), set()
    except pa.ArrowException as error:
        raise RecipeError(f"--where cannot be answered: {str(error)[:200]}.", "Compare like with like.") from error


def _texts(values: Iterable[str]) -> pa.Array:
    return pa.array(sorted(set(values)), pa.string())


def _parallel(fn: Callable[..., object], items: Iterable[object]) -> list:  # type: ignore[type-arg]  # of what fn gives
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(fn, items))
