"""A diff as a person reads it: what is different, and nothing else."""

import json
from dataclasses import asdict, fields

from rich.console import Console
from rich.table import Table

from dsray.diff.compare import Diff, Group, Row
from dsray.diff.drift import QUANTILES, Numbers, Signal

_MARKS = {"added": "+", "removed": "-", "changed": "~", "moved": ">"}
_COUNTS = [one.name for one in fields(Group) if one.name not in ("split", "origin")]


def as_json(diff: Diff) -> str:
    """The same for programs."""
    return json.dumps({**asdict(diff), "same_rows": diff.same_rows}, ensure_ascii=False)


def show(console: Console, diff: Diff, limit: int = 0) -> None:
    """Rows first, then what explains them. `limit` is that of the diff, where rows are listed."""
    shards = f"{diff.shards['same']:,} shards are in both, {diff.shards['read']:,} were read"
    console.print(f"{diff.before} → {diff.after}  {shards}", highlight=False, style="bold")
    _rows(console, diff)
    _labels(console, diff)
    _signals(console, [one for one in diff.signals if one.ks])
    dropped = [(rule, *both) for rule, both in diff.quarantine.items() if both[0] != both[1]]
    _table(console, "quarantine", [(rule, f"{a:,}", f"{b:,}", f"{b - a:+,}") for rule, a, b in dropped])
    for model, scores in diff.scores.items():
        told = [(name, _number(a), _number(b), _step(a, b)) for name, (a, b) in scores.items() if a != b]
        _table(console, f"scores of {model}", told)
    for before, after in diff.gates:
        console.print(f"  gate         {before or 'not asked'} → {after or 'not asked'}", highlight=False)
    for change in diff.recipe:
        console.print(f"  recipe       {change}", highlight=False)
    for lacking in diff.lacking:
        console.print(f"  {lacking}", highlight=False, style="dim")
    if diff.rows:
        console.print()
        for row in diff.rows:
            console.print(_row(row), highlight=False)
        console.print(f"At most {limit:,} rows of each sort are listed; --limit says how many.",
                      highlight=False, style="dim")  # fmt: skip


def _rows(console: Console, diff: Diff) -> None:
    if diff.same_rows:
        console.print("  Both hold the same rows.", highlight=False)
        return
    there = [name for name in _COUNTS if any(getattr(one, name) for one in diff.groups)]
    table = Table(box=None, padding=(0, 2), show_header=True, header_style="dim")
    for column in ("split", "origin", *(name.replace("_", " ") for name in there)):
        table.add_column(column, justify="left" if column in ("split", "origin") else "right")
    for one in diff.groups:
        table.add_row(one.split, one.origin, *(f"{getattr(one, name):,}" for name in there))
    console.print(table)
    if diff.columns:
        told = ", ".join(f"{name} {rows:,}" for name, rows in diff.columns.items())
        console.print(f"  changed      {told}", highlight=False)
    for before, after, rows in diff.moved:
        console.print(f"  moved        {before} → {after}  {rows:,}", highlight=False)


def _labels(console: Console, diff: Diff) -> None:
    counts = [(label, f"{a:,}", f"{b:,}", f"{b - a:+,}") for label, (a, b) in diff.labels.items() if a != b]
    _table(console, "label (real rows)", counts)
    for before, after, rows in diff.relabelled:
        console.print(f"  relabelled   {before or 'none'} → {after or 'none'}  {rows:,}", highlight=False)


def _signals(console: Console, moved: list[Signal]) -> None:
    """Each signal of the kept rows whose distribution is another, before above after."""
    if not moved:
        return
    table = Table(box=None, padding=(0, 2), show_header=True, header_style="dim")
    for column in ("signal (kept rows)", "", "mean", *(f"{share:.0%}" for share in QUANTILES), "KS distance"):
        table.add_column(column, justify="left" if column in ("signal (kept rows)", "") else "right")
    for one in moved:
        table.add_row(one.name, "before", *_words(one.before), "")
        table.add_row("", "after", *_words(one.after), f"{one.ks:.3f}")
    console.print(table)


def _words(numbers: Numbers) -> list[str]:
    return [_number(value) for value in (numbers.mean, *numbers.quantiles)]


def _table(console: Console, title: str, rows: list[tuple[str, str, str, str]]) -> None:
    if not rows:
        return
    table = Table(box=None, padding=(0, 2), show_header=True, header_style="dim")
    for column in (title, "before", "after", "difference"):
        table.add_column(column, justify="left" if column == title else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _row(row: Row) -> str:
    before, after = row.splits
    where = before if before == after else " → ".join(split for split in (before, after) if split)
    return f"{_MARKS[row.what]} {row.id}  {where} {row.origin}  {', '.join(row.columns)}".rstrip()


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def _step(before: float | None, after: float | None) -> str:
    return "" if before is None or after is None else f"{after - before:+.4g}"
