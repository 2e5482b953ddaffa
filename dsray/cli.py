"""The verbs. Each parses, calls one function and prints. Nothing heavy is imported before a verb needs it."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsray.errors import INTERRUPTED, DsrayError, LakeError
from dsray.version import __version__

if TYPE_CHECKING:
    from dsray.lake.store import Store
    from dsray.recipe import Recipe

EXIT_CODES = """exit codes: 0 done · 1 failed · 2 recipe or arguments · 3 lake · 4 source or site · 5 a gate refused ·
6 cluster · 10 (plan) there is work to do · 70 a defect of dsray · 130 stopped by Ctrl-C. Run again to go on."""

WORK_TO_DO = 10


def main(arguments: list[str] | None = None) -> int:
    """Runs one verb; returns its exit code."""
    options = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return int(options.verb(options) or 0)
    except DsrayError as error:
        return _fail(str(error), error.exit_code, options)
    except KeyboardInterrupt:
        return _fail("Stopped. What is done is kept: run the same command to go on.", INTERRUPTED, options)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno == 28:
            return _fail(
                "The disk is full. Free some space and run the same command to go on.", LakeError.exit_code, options
            )
        return _fail(f"{error.strerror or error}: {error.filename or ''}".strip(": ") + ".", 1, options)


def parser() -> argparse.ArgumentParser:
    """All verbs and their options."""
    top = argparse.ArgumentParser("dsray", description="One recipe builds a versioned dataset, and builds it again.",
                                  epilog=EXIT_CODES, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    top.add_argument("--version", action="version", version=f"dsray {__version__}")
    verbs = top.add_subparsers(metavar="verb", required=True)

    def verb(name: str, call: Callable[[Any], int | None], words: str) -> argparse.ArgumentParser:
        new = verbs.add_parser(name, help=words, description=words, epilog=EXIT_CODES)
        new.add_argument("--debug", action="store_true", help="show the whole stack trace of an error")
        new.set_defaults(verb=call)
        return new

    def with_recipe(new: argparse.ArgumentParser) -> argparse.ArgumentParser:
        new.add_argument("recipe", type=Path, help="a recipe, a YAML file")
        return with_lake(new)

    def with_lake(new: argparse.ArgumentParser) -> argparse.ArgumentParser:
        new.add_argument(
            "--lake", help="s3://bucket/prefix or file:///path, instead of the recipe's or the embedded one"
        )
        return new

    def with_cluster(new: argparse.ArgumentParser) -> argparse.ArgumentParser:
        new.add_argument("--address", help="a running Ray cluster; default: RAY_ADDRESS, else one on this machine")
        new.add_argument("--cpus", type=int, help="cores of the local Ray; default: all")
        return new

    def with_accept(new: argparse.ArgumentParser) -> argparse.ArgumentParser:
        new.add_argument("--accept", metavar="REASON", help="release synthetic rows although gates fail; the card and "
                         "the report say why")  # fmt: skip
        return new

    demo = with_cluster(verb("demo", _demo, "build a dataset from a local web gallery of handwritten digits"))
    demo.add_argument("--port", type=int, default=8900, help="the gallery's port (8900)")
    with_accept(demo).add_argument("--limit", type=int, help="serve only so many digits")
    run = with_cluster(with_recipe(verb("run", _run, "bring a dataset up to date with its recipe")))
    with_accept(run)
    run.add_argument("--recrawl", nargs="?", const="all", choices=["all", "due"], help="ask the sources anew: all that "
                     "is known (the default), or what is due by its schedule")  # fmt: skip
    crawl = verb("crawl", _crawl, "fetch a recipe's web sources only, or say how that stands")
    crawl.add_argument("what", choices=["run", "status"])
    with_cluster(with_recipe(crawl))
    crawl.add_argument("--recrawl", nargs="?", const="all", choices=["all", "due"], help="(run) ask the sources anew")
    plan = with_recipe(verb("plan", _plan, "say what run would do, and why"))
    plan.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="as if the recipe said so: "
                      "select.drop.blur.min=30; shows what that keeps and drops, without making anything")  # fmt: skip
    label = with_recipe(verb("label", _label, "write the rows that matter most for people to label"))
    label.add_argument("--out", type=Path, required=True, help="a folder for media and tasks")
    label.add_argument("--format", choices=["label-studio", "coco"], default="label-studio", help="(label-studio)")
    label.add_argument("--rows", type=_count, default=200, help="how many rows (200)")
    label.add_argument("--by", choices=["conflict", "uncertain", "random", "unlabelled"], help="which rows; default: "
                       "half conflicts, a quarter uncertain, a quarter unlabelled")  # fmt: skip
    submit = with_recipe(verb("submit", _submit, "run a recipe on a Ray cluster through its Jobs API"))
    submit.add_argument("--address", required=True, help="the cluster's dashboard, http://host:8265")
    submit.add_argument("--recrawl", nargs="?", const="all", choices=["all", "due"], help="ask the sources anew")
    with_accept(submit).add_argument("--no-wait", action="store_true", help="return when the job is accepted")
    show = with_lake(verb("show", _show, "what a release is made of"))
    show.add_argument("release", nargs="?", help="digits@v3, or digits for the newest; without it: all datasets")
    show.add_argument("--quarantine", nargs="?", const="", metavar="RULE", help="why rows were dropped, with examples "
                      "and what other thresholds would bring back; of all rules, or of one")  # fmt: skip
    export = with_lake(verb("export", _export, "copy a release into a folder of plain files"))
    export.add_argument("release", help="digits@v3, or digits for the newest")
    export.add_argument("folder", type=Path, nargs="?", help="default: named after the release")
    export.add_argument("--format", choices=["parquet", "png"], default="parquet", help="parquet, as it lies on the "
                        "lake, or png: split/label/id.png, metadata.csv and sheets of samples")  # fmt: skip
    lake = verb("lake", _lake, "the embedded S3 server of this folder, and what is on a lake")
    lake.add_argument("what", choices=["up", "down", "ls"])
    lake.add_argument("prefix", nargs="?", default="", help="(ls) only names that begin so")
    with_lake(lake)
    verb("schema", _schema, "print the recipe's JSON Schema, for editors")
    with_lake(verb("doctor", _doctor, "check this machine: packages, lake, cores, memory, disk"))
    return top


def _count(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rows")
    return int(text)


def _fail(message: str, code: int, options: argparse.Namespace) -> int:
    if options.debug:
        import traceback

        traceback.print_exc()
    print(f"dsray: {message}", file=sys.stderr)
    return code


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


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
    from dsray import build, console

    screen = console.console_of()
    lines = console.Lines(screen)
    try:
        outcome = build.run(recipe, store, lines, address=options.address, cpus=options.cpus, recrawl=recrawl,
                            accept=options.accept)  # fmt: skip
    finally:
        lines.stop()
    console.summary(screen, outcome)
    version, prefix = (outcome.made["release"].details[name] for name in ("version", "prefix"))
    report = _local_report(store, recipe.dataset, version, prefix)
    state = "Everything is up to date: " if outcome.up_to_date else ""
    screen.print(f"\n{state}{recipe.dataset}@v{version}")
    screen.print(f"  release  {store.url}/{prefix}", highlight=False)
    screen.print(f"  report   {report}", highlight=False)
    screen.print(f"  use it   dsray.load(\"{recipe.dataset}@v{version}\", split=\"train\").torch()   "
                 f"or   dsray export {recipe.dataset}", highlight=False)  # fmt: skip


def _local_report(store: "Store", dataset: str, version: int, prefix: str) -> Path:
    """A copy of the report that a browser can open."""
    from dsray.lake.session import FOLDER

    path = FOLDER / "reports" / f"{dataset}-v{version}.html"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(store.read(f"{prefix}report.html"))
    return path


def _demo(options: argparse.Namespace) -> None:
    from dsray import build
    from dsray import recipe as recipes
    from dsray.demo.recipe import write
    from dsray.lake.session import opened

    recipe = recipes.load(write(Path(), options.port))
    with opened(recipe.lake) as store:
        collected = any(step.name == "collect" and step.state == "reuse" for step in build.plan(recipe, store))
        if collected:
            _build(recipe, store, options)
            return
        from dsray.demo import site

        with site.serve(options.port, options.limit):
            print(f"A gallery of handwritten digits is at http://127.0.0.1:{options.port}/ while it is crawled.")
            _build(recipe, store, options)


def _plan(options: argparse.Namespace) -> int:
    from dsray import build, console, override

    plain, recipe = override.load(options.recipe, options.set)
    screen = console.console_of()
    with _opened(options, recipe) as store:
        planned = build.plan(recipe, store)
        console.plan_table(screen, planned)
        if options.set and (both := build.compare(plain, recipe, store)):
            console.difference(screen, *both)
    return WORK_TO_DO if any(step.state != "reuse" for step in planned) else 0


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
    from dsray import console

    if options.quarantine is not None and options.release is None:
        raise DsrayError("Whose quarantine?", "Name a dataset: dsray show digits --quarantine.")
    with _opened(options) as store:
        if options.quarantine is None:
            console.show(console.console_of(), store, options.release)
        else:
            console.quarantine(console.console_of(), store, options.release, options.quarantine)


def _export(options: argparse.Namespace) -> None:
    from dsray import dataset, pictures

    with _opened(options) as store:
        version = dataset.find(store, options.release)
        plain = options.format == "png"
        folder = options.folder or Path(f"{version.dataset}-v{version.number}" + ("-png" if plain else ""))
        files = (pictures if plain else dataset).export(version, folder)
    print(f"{len(files)} files are in {folder}/")


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
    import json

    from dsray.recipe import model

    print(json.dumps(model().model_json_schema(), indent=2))


def _doctor(options: argparse.Namespace) -> int:
    from dsray import doctor

    return doctor.examine(options.lake)


if __name__ == "__main__":
    raise SystemExit(main())
