"""What a person sees of an order: what it would take, and what became of it."""

from rich.console import Console
from rich.table import Table

from dsray.cost import size
from dsray.forget.order import Ended, Touched


def touched(console: Console, would: Touched) -> None:
    """What an order would take, or takes."""
    found, made, table = would.found, would.derived, _table()
    for source, rows in found.rows().items():
        table.add_row(f"rows of {source}", f"{rows:,}", "")
    if not found.column("id"):
        table.add_row("rows", "0", "none is on this lake; what was named is kept out from then on")
    like = len(found.column("id")) - len(found.asked)
    if like:
        table.add_row("  of them alike", f"{like:,}", "the same bytes, the same cluster, or near-duplicates")
    table.add_row("augmented rows", f"{made.children:,}", "")
    table.add_row("raw shards", f"{len(found.shards):,}", "written anew without the rows")
    table.add_row("derived shards", f"{len(made.shards):,}", f"{len(made.manifests):,} manifests")
    table.add_row("releases", f"{len(would.releases):,}", " ".join(f"{name}@v{n}" for name, n in would.releases))
    models = " ".join(one.key[:12] for one in would.models)
    table.add_row("models", f"{len(would.models):,}", f"{models} learned from the rows" if models else "")
    table.add_row("datasets", f"{len(would.datasets):,}", " ".join(would.datasets))
    console.print(table)


def ended(console: Console, done: Ended, url: str) -> None:
    """What became of an order."""
    gone = f"{done.objects:,} objects deleted, {size(done.bytes)}" if done.objects else "nothing was left to do"
    console.print(f"\nOrder {done.order.number} is done: {gone}.", highlight=False)
    console.print(f"  record  {url}", highlight=False)


def built(console: Console, done: Ended) -> None:
    """What the datasets that lost rows are now."""
    for dataset, version in done.built.items():
        console.print(f"\n{dataset}@v{version} is without the rows.", highlight=False)
    for dataset in done.order.removes["datasets"]:
        if dataset not in done.built and dataset not in done.failed:
            console.print(f"\n{dataset} was not built again: no version has its recipe. Run it with `dsray run`.",
                          highlight=False)  # fmt: skip
    for dataset, why in done.failed.items():
        console.print(f"\n{dataset} could not be built again: {why}", highlight=False)


def _table() -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column(style="dim")
    return table
