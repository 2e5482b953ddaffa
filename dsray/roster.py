"""What a person sees of many datasets: a line a step with the dataset's name before it, then a table of all."""

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dsray.console import Lines
from dsray.regenerate import Entry, Result

_COLOURS = {"failed": "red", "stopped": "yellow", "up to date": "dim"}


def listeners(console: Console, entries: Sequence[Entry]) -> Callable[[str], Lines]:
    """Dataset → its listener. There are no live lines: several write at once."""
    width = max((len(entry.name) for entry in entries), default=0)
    return lambda name: Lines(console, f"{name:<{width}}")


def summary(console: Console, results: Sequence[Result]) -> None:
    """A row a dataset, then what went wrong, a sentence each."""
    table = Table(box=None, pad_edge=False, padding=(0, 2), header_style="dim")
    for column in ("dataset", "state", "what changed"):
        table.add_column(column)
    table.add_column("time", justify="right")
    for one in results:
        state = Text(one.state + (f" v{one.version}" if one.version else ""), _COLOURS.get(one.state, "bold"))
        table.add_row(Text(one.name), state, Text(one.change), f"{one.seconds:,.1f} s" if one.seconds else "")
    console.print()
    console.print(table, highlight=False)
    for one in results:
        if one.error:
            said = str(one.error)
            name = "" if said.startswith(one.name) else f"{one.name}: "
            console.print(Text(f"\n{name}{said}"), highlight=False)
