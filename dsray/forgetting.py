"""`dsray forget` and `jobs/forget.py`: a dry run, or an order to its end."""

import argparse
import getpass
from pathlib import Path

from dsray.console import Lines, console_of
from dsray.errors import DsrayError, RecipeError
from dsray.forget import order, words
from dsray.forget.find import Request
from dsray.forget.order import Ended
from dsray.lake import leases, tombstones
from dsray.lake.store import Store


def run(said: argparse.Namespace, store: Store, address: str | None = None, cpus: int | None = None) -> int:
    """Returns 0, or the exit code of the first dataset that could not be built again."""
    screen = console_of()
    if said.go_on:
        if asked(said).counts():
            raise RecipeError("--continue carries on what was asked for before.", "Leave the rows away.")
        ended = carried_on(store)
    else:
        request, reason, by = requested(said), said.reason.strip(), said.by or getpass.getuser()
        if not said.yes:
            words.touched(screen, order.look(store, request, reason, by))
            screen.print("\nNothing was changed. To carry this out, add --yes and a --reason.", highlight=False)
            return 0
        if not reason:
            raise RecipeError("Forgetting needs a reason.", 'Say why: --reason "request of 3 May".')
        with leases.alone(store, "dsray forget") as lease:
            would = order.look(store, request, reason, by)
            words.touched(screen, would)
            ended = [order.carry_out(store, order.file(store, would), lease)]
    lines, code = Lines(screen), 0

    def again(dataset: str) -> int | None:
        screen.print(f"\n{dataset}", style="bold", highlight=False)
        return order.build_again(store, dataset, lines, address, cpus)

    for one in ended:
        words.ended(screen, one, f"{store.url}/{tombstones.name_of(one.order.number)}")
        if not said.no_build:
            try:
                order.rebuild(store, one, again)
            finally:
                lines.stop()
            words.built(screen, one)
        code = code or next((why.exit_code for why in one.failed.values()), 0)
    return code


def carried_on(store: Store) -> list[Ended]:
    """The orders that were stopped, at their end; where none was, the last one, whose builds may have been stopped.
    Raises DsrayError where there is none."""
    if stopped := tombstones.begun(store):
        with leases.alone(store, "dsray forget") as lease:
            return [order.carry_out(store, one, lease) for one in stopped]
    if not (filed := tombstones.orders(store)):
        raise DsrayError(f"There is no order to forget rows on {store.url}.", "Name the rows that are to be forgotten.")
    return [Ended(filed[-1])]


def requested(said: argparse.Namespace) -> Request:
    """What the options ask for. Raises RecipeError when they ask for nothing, or a file cannot be read."""
    request = asked(said)
    if not request.counts():
        raise RecipeError("What is to be forgotten?", "Name it by --url, --host, --id, --ids, --source or --where.")
    return request


def asked(said: argparse.Namespace) -> Request:
    """The rows that the options name. Raises RecipeError when a file of ids cannot be read."""
    ids = [*said.id, *(_lines(said.ids) if said.ids else [])]
    return Request(tuple(said.url), tuple(said.host), tuple(ids), tuple(said.source), said.where, said.only)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} cannot be read.", "Give a text file with one row id a line.") from error
