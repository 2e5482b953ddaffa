"""What a person sees of a lake's upkeep: what gc takes away, and what verify finds."""

from rich.console import Console

from dsray.cost import size
from dsray.upkeep.gc import Swept
from dsray.upkeep.verify import Checked


def swept(console: Console, found: Swept, dry: bool, where: str) -> None:
    """What went, or would go, by folder."""
    for what in found.beside:
        console.print(f"  beside {what}, whose objects stay", highlight=False, style="dim")
    for kind, count in sorted(found.counts.items()):
        console.print(f"  {kind:<24} {count:>9,} objects  {size(found.bytes[kind]):>12}", highlight=False)
    total = f"{len(found.names):,} objects, {size(found.bytes.total())}"
    if not found.names:
        console.print(f"Nothing to take away: all {found.kept:,} objects of {where} are needed, or too young to go.")
    elif dry:
        console.print(
            f"{total} would go, {found.kept:,} stay. Say it again with --yes to take them away.", highlight=False
        )
    else:
        console.print(f"{total} are gone, {found.kept:,} stay.", highlight=False)


def checked(console: Console, found: Checked) -> None:
    """A line a problem, and what was looked at."""
    for problem in found.problems:
        console.print(f"  {problem.name}  {problem.what}.  Mend: {problem.mend}", highlight=False)
    count = len(found.problems)
    state = f"{count:,} problem{'s' * (count != 1)}" if count else "All is whole"
    console.print(f"{state}: {found.objects:,} objects, {size(found.bytes)} checked.", highlight=False)
