"""The verbs. Each parses, calls one function and prints. Nothing heavy is imported before a verb needs it."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dsray.arguments import parser
from dsray.errors import INTERRUPTED, DsrayError, LakeError

if TYPE_CHECKING:
    from dsray.lake.store import Store
    from dsray.recipe import Recipe

WORK_TO_DO = DIFFERENT = 10


def main(arguments: list[str] | None = None) -> int:
    """Runs one verb; returns its exit code."""
    options = parser(VERBS).parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return int(options.verb(options) or 0)
    except DsrayError as error:
        return _fail(str(error), error.exit_code, options)
    except KeyboardInterrupt as stop:
        go_on = "run `dsray forget --continue`" if options.verb is _forget else "run the same command"
        told = str(stop) or f"Stopped. What is done is kept: {go_on} to go on."
        return _fail(told, INTERRUPTED, options)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno == 28:
            return _fail(
                "The disk is full. Free some space and run the same command to go on.", LakeError.exit_code, options
            )
        return _fail(f"{error.strerror or error}: {error.filename or ''}".strip(": ") + ".", 1, options)


def _fail(message: str, code: int, options: argparse.Namespace) -> int:
    if options.debug:
        import traceback

        traceback.print_exc()
    print(f"dsray: {message}", file=sys.stderr)
    return code


@contextmanager
def _opened(options: argparse.Namespace, recipe: "Recipe | None" = None) -> "Iterator[Store]":
    from dsray.lake.session import opened

    with opened(options.lake or (recipe.lake if recipe else None)) as store:
        yield store


def _run(options: argparse.Namespace) -> None:
    from dsray import recipe as recipes

    recipe = recipes.load(options.recipe)
    with _opened(options, recipe) as store:
        _build(recipe, store, options, recrawl=options.recrawl)


def _crawl(options: argparse.Namespace) -> None:
    from dsray import build, console
    from dsray import recipe as recipes

    recipe = recipes.load(options.recipe)
    screen = console.console_of()
    with _opened(options, recipe) as store:
        if options.what == "run":
            lines = console.Lines(screen)
            try:
                build.run(recipe, store, lines, address=options.address, cpus=options.cpus, recrawl=options.recrawl,
                          until="collect")  # fmt: skip
            finally:
                lines.stop()
        for told in build.crawls(recipe, store):
            console.crawl(screen, told)


def _build(recipe: "Recipe", store: "Store", options: argparse.Namespace, recrawl: str | None = None) -> None:
    """Builds, and prints a line a stage, the table, and where to look."""
    from dsray import build, catalog, console, dataset

    screen = console.console_of()
    lines = console.Lines(screen)
    try:
        outcome = build.run(recipe, store, lines, address=options.address, cpus=options.cpus, recrawl=recrawl,
                            accept=options.accept)  # fmt: skip
    finally:
        lines.stop()
    console.summary(screen, outcome)
    version, prefix = (outcome.made["release"].details[name] for name in ("version", "prefix"))
    dataset.version(store, recipe.dataset, version)  # which raises when readers could not open it
    report = _local_report(store, recipe.dataset, version, prefix)
    state = "Everything is up to date: " if outcome.up_to_date else ""
    screen.print(f"\n{state}{recipe.dataset}@v{version}")
    screen.print(f"  release  {store.url}/{prefix}", highlight=False)
    screen.print(f"  report   {report}", highlight=False)
    if catalog.told_withdrawn(screen, store, recipe.dataset, version):
        return
    screen.print(f"  use it   dsray.load(\"{recipe.dataset}@v{version}\", split=\"train\").torch()   "
                 f"or   dsray export {recipe.dataset}", highlight=False)  # fmt: skip


def _local_report(store: "Store", dataset: str, version: int, prefix: str) -> Path:
    """A copy of the report that a browser can open."""
    from dsray.dataset import mend
    from dsray.lake.session import FOLDER
    from dsray.lake.store import Missing

    path = FOLDER / "reports" / f"{dataset}-v{version}.html"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.write_bytes(store.read(f"{prefix}report.html"))
        except Missing:
            raise Missing(f"{store.url}/{prefix}report.html is gone.", mend(store, dataset, version)) from None
    return path


def _demo(options: argparse.Namespace) -> None:
    from dsray import planning
    from dsray import recipe as recipes
    from dsray.demo.recipe import write
    from dsray.lake.session import opened

    recipe = recipes.load(write(Path(), options.port))
    with opened(recipe.lake) as store:
        collected = any(step.name == "collect" and step.state == "reuse" for step in planning.plan(recipe, store))
        if collected:
            _build(recipe, store, options)
            return
        from dsray.demo import site

        with site.serve(options.port, options.limit):
            print(f"A gallery of handwritten digits is at http://127.0.0.1:{options.port}/ while it is crawled.")
            _build(recipe, store, options)


def _plan(options: argparse.Namespace) -> int:
    from dsray import console, cost, override, planning

    plain, recipe = override.load(options.recipe, options.set)
    screen = console.console_of()
    with _opened(options, recipe) as store:
        planned = planning.plan(recipe, store)
        estimates, start = cost.estimates(planned, recipe, store), cost.start(recipe, store)
        if options.json:
            print(json.dumps(cost.document(planned, estimates, start), indent=2))
        else:
            console.plan_table(screen, planned, estimates, start)
            if options.set and (both := planning.compare(plain, recipe, store)):
                console.difference(screen, *both)
    return WORK_TO_DO if any(step.state != "reuse" for step in planned) else 0


def _regenerate(options: argparse.Namespace) -> int:
    from dsray import console, regenerate, roster

    screen = console.console_of()
    job = regenerate.Job(regenerate.load(options.recipes), options.lake)
    try:
        job.run(roster.listeners(screen, job.entries), address=options.address, cpus=options.cpus, jobs=options.jobs,
                recrawl=options.recrawl, accept=options.accept)  # fmt: skip
    finally:
        roster.summary(screen, job.results)
    return job.exit_code


def _label(options: argparse.Namespace) -> None:
    from dsray import annotate
    from dsray import recipe as recipes

    recipe = recipes.load(options.recipe)
    with _opened(options, recipe) as store:
        target = annotate.export(recipe, store, options.out, format_=options.format, rows=options.rows, by=options.by)
    print(f"The rows to label are in {target}. When it is edited, name it in the recipe: label: [file: {{path: ...}}]")


def _submit(options: argparse.Namespace) -> None:
    from dsray import recipe as recipes
    from dsray.engine.submit import submit

    recipe = recipes.load(options.recipe)
    lake = options.lake or recipe.lake
    if not lake:
        raise LakeError(
            "A cluster needs a lake that all its nodes reach.",
            "Name one in the recipe (`lake: s3://bucket/prefix`) or by --lake.",
        )
    arguments = ["--lake", lake, *(["--recrawl", options.recrawl] if options.recrawl else [])]
    arguments += ["--accept", options.accept] if options.accept is not None else []
    job = submit(options.recipe, options.address, arguments, print, follow=not options.no_wait)
    print(f"Job {job} on {options.address}" + (" was accepted." if options.no_wait else " is done."))


def _show(options: argparse.Namespace) -> None:
    from dsray import catalog, console
    from dsray import recipe as recipes

    if options.quarantine is not None and options.release is None:
        raise DsrayError("Whose quarantine?", "Name a dataset or a recipe: dsray show digits --quarantine.")
    screen = console.console_of()
    path = Path(options.release or "")
    recipe = recipes.load(path) if path.suffix in (".yaml", ".yml") else None
    with _opened(options, recipe) as store:
        if options.quarantine is not None:
            console.quarantine(screen, store, recipe or options.release, options.quarantine)
        else:
            catalog.show(screen, store, recipe.dataset if recipe else options.release)


def _diff(options: argparse.Namespace) -> int:
    from dsray.console import console_of
    from dsray.diff import compare, words

    limit = options.limit if options.rows else 0
    with _opened(options) as store:
        found = compare.compare(*compare.pair(store, options.before, options.after), limit)
    if options.json:
        print(words.as_json(found))
    else:
        words.show(console_of(), found, limit)
    return DIFFERENT if options.exit_code and not found.same_rows else 0


def _tag(options: argparse.Namespace) -> None:
    from dsray import catalog
    from dsray.console import console_of

    with _opened(options) as store:
        catalog.tag(console_of(), store, options.release, options.name, options.delete)


def _withdraw(options: argparse.Namespace) -> None:
    from dsray import catalog
    from dsray.console import console_of

    with _opened(options) as store:
        catalog.withdraw(console_of(), store, options.release, options.reason, options.undo)


def _forget(options: argparse.Namespace) -> int:
    from dsray import forgetting

    with _opened(options) as store:
        return forgetting.run(options, store, options.address, options.cpus)


def _trace(options: argparse.Namespace) -> int:
    from dsray import console
    from dsray.trace import story, words

    with _opened(options) as store:
        told = story.trace(store, options.row, options.inside, again=options.replay)
    if options.json:
        print(words.as_json(told))
    else:
        words.show(console.console_of(), told)
    return int(isinstance(told, story.Story) and told.differs)


def _export(options: argparse.Namespace) -> None:
    from dsray import dataset, pictures

    with _opened(options) as store:
        version = dataset.find(store, options.release)
        plain = options.format == "png"
        folder = options.folder or Path(f"{version.dataset}-v{version.number}" + ("-png" if plain else ""))
        files = (pictures if plain else dataset).export(version, folder)
    print(f"{len(files)} files are in {folder}/")


def _gc(options: argparse.Namespace) -> None:
    from dsray import console
    from dsray.upkeep import gc, words

    with _opened(options) as store:
        found = gc.sweep(store, options.grace, dry=not options.yes)
        words.swept(console.console_of(), found, not options.yes, store.url)


def _verify(options: argparse.Namespace) -> int:
    from dsray import console
    from dsray.upkeep import verify, words

    screen = console.console_of()
    with _opened(options) as store:
        found = verify.verify(store, options.dataset, options.quick)
        words.checked(screen, found)
        if found.problems and options.heal:
            from dsray.upkeep import heal

            lines = console.Lines(screen)
            try:
                found = heal.heal(store, found, lines, options.dataset)
            finally:
                lines.stop()
            words.checked(screen, found)
    return LakeError.exit_code if found.problems else 0


def _lake(options: argparse.Namespace) -> None:
    import time

    from dsray.lake import embedded
    from dsray.lake.session import FOLDER

    folder = FOLDER.absolute() / "lake"
    if options.what == "down":
        print("Stopped." if embedded.stop(folder) else "No server of this folder is running.")
    elif options.what == "ls":
        with _opened(options) as store:
            for entry in store.list(options.prefix):
                print(f"{entry.size:>12,}  {entry.name}")
    else:
        with embedded.serve(folder) as server:
            for name, value in embedded.environment(server).items():
                print(f"export {name}={value}")
            print(f"# The lake is {server.url}; it stops with Ctrl-C, or with `dsray lake down`.", flush=True)
            while embedded.running(folder):
                time.sleep(0.5)


def _schema(options: argparse.Namespace) -> None:
    from dsray.recipe import model

    print(json.dumps(model().model_json_schema(), indent=2))


def _doctor(options: argparse.Namespace) -> int:
    from dsray import doctor

    return doctor.examine(options.lake)


VERBS = {
    "demo": _demo,
    "run": _run,
    "crawl": _crawl,
    "plan": _plan,
    "regenerate": _regenerate,
    "label": _label,
    "submit": _submit,
    "show": _show,
    "diff": _diff,
    "tag": _tag,
    "withdraw": _withdraw,
    "trace": _trace,
    "export": _export,
    "forget": _forget,
    "gc": _gc,
    "verify": _verify,
    "lake": _lake,
    "schema": _schema,
    "doctor": _doctor,
}

if __name__ == "__main__":
    raise SystemExit(main())
