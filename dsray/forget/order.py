"""An order from its dry run to its end. What it takes is found first and filed with it; then each step may be done
again, so whoever comes after a kill goes on from the order alone."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime

from dsray import build
from dsray.build import Listener
from dsray.errors import DsrayError
from dsray.forget import crawls, find, learned, raws, releases
from dsray.forget.derived import Derived, derived
from dsray.forget.find import Found, Request
from dsray.lake import leases, manifests, refs, session, shards, tombstones
from dsray.lake.leases import Lease
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt
from dsray.lake.store import Entry, Store
from dsray.lake.tombstones import Order, Tombstones, mark


@dataclass(frozen=True)
class Touched:
    """What an order would take, or took."""

    found: Found
    order: Order  # not filed yet: number 0
    derived: Derived
    models: list[Manifest]  # of train: they learned from the rows
    releases: list[releases.Release]
    datasets: list[str]


@dataclass
class Ended:
    """An order that was carried out. `failed`: dataset → why it could not be built again."""

    order: Order
    objects: int = 0
    bytes: int = 0
    built: dict[str, int] = field(default_factory=dict)
    failed: dict[str, DsrayError] = field(default_factory=dict)

    def delete(self, store: Store, entries: Iterable[Entry], lease: Lease) -> None:
        """Deletes objects one after the other, and counts them."""
        for entry in entries:
            lease.check()
            store.delete(entry.name)
            self.objects, self.bytes = self.objects + 1, self.bytes + entry.size


def look(store: Store, request: Request, reason: str = "", by: str = "") -> Touched:
    """The dry run: finds everything, and changes nothing. Raises DsrayError when there is nothing to forget, or when a
    crawl or an order that did not end is in the way."""
    forgotten = tombstones.load(store)
    found = find.find(store, request)
    urls = sorted({*request.spelt(), *found.column("url"), *found.column("final_url")})
    hosts = [host.lower() for host in request.hosts]
    if not found.column("id") and not _news(forgotten, request):
        raise DsrayError("No row of this lake is meant.", "What was forgotten already is kept out.")
    signatures = [] if request.only else find.signatures(store, found)
    order = Order(
        0, _now(), by, reason, request.counts(),
        rows=_marks(found.column("id")), urls=_marks(urls), pages=_marks(found.column("page")), hosts=_marks(hosts),
        crawled=crawls.keys_of([url for url in urls if url.startswith(("http:", "https:"))]),
        digests=[] if request.only else found.column("digest"), signatures=signatures,
    )  # fmt: skip
    crawls.refuse_unfinished(store, tombstones.of([order]))
    made = derived(store, frozenset(order.rows), [_digest(store, name) for name in found.shards])
    collects = raws.concerned(store, found.shards)
    keys = {manifest.key for manifest in collects}
    versions = releases.concerned(store, frozenset(order.rows), keys)
    steps = find.builds(store)
    gone = keys | {manifest.key for manifest in made.manifests}
    datasets = [name for name, made_of in steps.items() if gone.intersection(one.key for one in made_of.values())]
    models = learned.tainted(store, frozenset(order.rows), made.trained)
    tainted = {name for one in models for name in (one.key, *(receipt.digest for receipt in one.shards))}
    return Touched(found, replace(order, models=sorted(tainted)), made, models, versions, datasets)


def file(store: Store, touched: Touched) -> Order:
    """Writes what stays of the raw shards, and the order: from here on it is carried out, whatever happens."""
    moved = raws.rewrite(store, touched.found.shards)
    removes = {
        "rows": touched.found.rows(), "like": len(touched.found.column("id")) - len(touched.found.asked),
        "children": touched.derived.children, "releases": [list(one) for one in touched.releases],
        "datasets": touched.datasets, "models": sorted(one.key for one in touched.models),
        "raw": {old: {"digest": _digest(store, old), "to": asdict(new) if new else None} for old, new in moved.items()},
    }  # fmt: skip
    return tombstones.add(store, replace(touched.order, removes=removes))


def carry_out(store: Store, order: Order, lease: Lease) -> Ended:
    """Deletes all that an order takes, from its beginning or from where a killed one stopped, and signs it off. Of a
    lake on which nobody else writes (`leases.alone`)."""
    ended = Ended(order)
    ended.delete(store, _gone(store, order), lease)
    session.compact(store)
    tombstones.end(store, order, {"at": _now(), "objects": ended.objects, "bytes": ended.bytes})
    return ended


def rebuild(store: Store, ended: Ended, again: Callable[[str], int | None]) -> None:
    """Builds the datasets that lost rows with `again`, which returns a version; then takes away the models that learned
    from the rows, as far as nothing needs them any more."""
    for dataset in ended.order.removes["datasets"]:
        try:
            if version := again(dataset):
                ended.built[dataset] = version
        except DsrayError as error:  # the rows are gone all the same
            ended.failed[dataset] = error
    if ended.order.models and not ended.failed:
        with leases.held(store, "dsray forget") as lease:
            gone = learned.unneeded(store, set(ended.order.removes["models"]), lease.now())
            ended.delete(store, gone, lease)
            session.compact(store)


def build_again(store: Store, dataset: str, listener: Listener, address: str | None = None,
                cpus: int | None = None) -> int | None:  # fmt: skip
    """Brings a dataset up to date with the recipe of its last version, if it ever had one; returns its version."""
    recipe, accept = releases.recipe(store, dataset)
    if recipe is None:
        return None
    outcome = build.run(recipe, store, listener, address=address, cpus=cpus, accept=accept)
    return int(outcome.made["release"].details["version"])


def _gone(store: Store, order: Order) -> Iterator[Entry]:
    """What is to be deleted, each after what is found by it. Between two of them the lake is whole."""
    said = order.removes
    moved = {name: Receipt(**one["to"]) if one["to"] else None for name, one in said["raw"].items()}
    rows, collects = frozenset(order.rows), {manifest.key for manifest in raws.concerned(store, moved)}
    since = releases.concerned(store, rows, collects)  # built while the order stood still
    for dataset, number in {*((name, number) for name, number in said["releases"]), *since}:
        yield from releases.withdraw(store, (dataset, number), f"forgotten rows: order {order.number}")
    raws.edit(store, moved)
    yield from crawls.clean(store, order, moved)
    yield from learned.unname(store, rows)
    made = derived(store, rows, [one["digest"] for one in said["raw"].values()])
    _unbuild(store, {manifest.key for manifest in made.manifests})
    for manifest in made.manifests:
        yield from list(store.list(f"evaluations/{manifest.key}/"))
        yield from list(store.list(manifests.name_of(manifest.stage, manifest.key)))
    for folder in _folders(store, "evaluations/"):  # pictures of rows that a killed evaluation left
        if manifests.find(store, "evaluate", folder.split("/")[1]) is None:
            yield from list(store.list(folder))
    for name in (*made.shards, *moved):
        yield from list(store.list(name))


def _folders(store: Store, prefix: str) -> list[str]:
    return sorted({entry.name.rpartition("/")[0] + "/" for entry in store.list(prefix)})


def _unbuild(store: Store, keys: set[str]) -> None:
    """Takes steps out of what the last builds are: a ref that names nothing would look like a hole in the lake. Which
    version a build came to stays told: its recipe is built again."""

    def change(value: refs.Value | None) -> refs.Value:
        build = value or {}
        left = {name: key for name, key in build.get("steps", {}).items() if key not in keys}
        version = releases.came_to(store, build)
        return {**build, "steps": left, **({releases.CAME_TO: version} if version else {})}

    for dataset in find.builds(store):
        refs.update(store, f"builds/{dataset}", change)


def _news(forgotten: Tombstones, request: Request) -> bool:
    """Whether it names a URL or host that is not kept out yet: that may be asked before anything was fetched."""
    return not (all(map(forgotten.holds_url, request.spelt())) and all(map(forgotten.holds_host, request.hosts)))


def _digest(store: Store, name: str) -> str:
    receipt = shards.adopt(store, name)
    return receipt.digest if receipt else ""


def _marks(texts: Iterable[str]) -> list[str]:
    return sorted({mark(text) for text in texts})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
