"""What a person may write behind `dsray`: the verbs and their options."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dsray.forget.options import options
from dsray.version import __version__

Call = Callable[[Any], int | None]
Verb = Callable[[str, str], argparse.ArgumentParser]
"""Adds a verb: its name, and what it does."""

EXIT_CODES = """exit codes: 0 done · 1 failed · 2 recipe or arguments · 3 lake · 4 source or site · 5 a gate refused ·
6 cluster · 10 (plan) there is work to do, (diff --exit-code) rows differ · 70 a defect of dsray ·
130 stopped by Ctrl-C. Run again to go on."""

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parser(calls: Mapping[str, Call]) -> argparse.ArgumentParser:
    """All verbs and their options; `calls` says what each does."""
    top = argparse.ArgumentParser("dsray", description="One recipe builds a versioned dataset, and builds it again.",
                                  epilog=EXIT_CODES, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    top.add_argument("--version", action="version", version=f"dsray {__version__}")
    verbs = top.add_subparsers(metavar="verb", required=True)

    def verb(name: str, words: str) -> argparse.ArgumentParser:
        new = verbs.add_parser(name, help=words, description=words, epilog=EXIT_CODES)
        new.add_argument("--debug", action="store_true", help="show the whole stack trace of an error")
        new.set_defaults(verb=calls[name])
        return new

    _building(verb)
    _reading(verb)
    _keeping(verb)
    return top


def _building(verb: Verb) -> None:
    """What brings datasets up to date."""
    demo = _with_cluster(verb("demo", "build a dataset from a local web gallery of handwritten digits"))
    demo.add_argument("--port", type=int, default=8900, help="the gallery's port (8900)")
    _with_accept(demo).add_argument("--limit", type=int, help="serve only so many digits")
    run = _with_cluster(_with_recipe(verb("run", "bring a dataset up to date with its recipe")))
    _with_accept(run)
    run.add_argument("--recrawl", nargs="?", const="all", choices=["all", "due"], help="ask the sources anew: all that "
                     "is known (the default), or what is due by its schedule")  # fmt: skip
    crawl = verb("crawl", "fetch a recipe's web sources only, or say how that stands")
    crawl.add_argument("what", choices=["run", "status"])
    _with_cluster(_with_recipe(crawl))
    crawl.add_argument("--recrawl", nargs="?", const="all", choices=["all", "due"], help="(run) ask the sources anew")
    plan = _with_recipe(verb("plan", "say what run would do, why, and what it takes"))
    plan.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="as if the recipe said so: "
                      "select.drop.blur.min=30; shows what that keeps and drops, without making anything")  # fmt: skip
    plan.add_argument("--json", action="store_true", help="for programs")
    regenerate = _with_cluster(_with_lake(verb("regenerate", "bring many datasets up to date, as one job")))
    regenerate.add_argument("recipes", type=Path, nargs="+", help="recipes, and folders of them")
    _with_accept(regenerate).add_argument("--recrawl", nargs="?", const="all", choices=["all", "due"], help="ask the "
                                         "sources anew; what several recipes share is asked once")  # fmt: skip
    regenerate.add_argument(
        "--jobs", type=_count, help="datasets at once; default: as many as the cluster has room for"
    )
    label = _with_recipe(verb("label", "write the rows that matter most for people to label"))
    label.add_argument("--out", type=Path, required=True, help="a folder for media and tasks")
    label.add_argument("--format", choices=["label-studio", "coco"], default="label-studio", help="(label-studio)")
    label.add_argument("--rows", type=_count, default=200, help="how many rows (200)")
    label.add_argument("--by", choices=["conflict", "uncertain", "random", "unlabelled"], help="which rows; default: "
                       "half conflicts, a quarter uncertain, a quarter unlabelled")  # fmt: skip
    submit = _with_recipe(verb("submit", "run a recipe on a Ray cluster through its Jobs API"))
    submit.add_argument("--address", required=True, help="the cluster's dashboard, http://host:8265")
    submit.add_argument("--recrawl", nargs="?", const="all", choices=["all", "due"], help="ask the sources anew")
    _with_accept(submit).add_argument("--no-wait", action="store_true", help="return when the job is accepted")


def _reading(verb: Verb) -> None:
    """What tells of versions and rows."""
    show = _with_lake(verb("show", "what a release is made of"))
    show.add_argument("release", nargs="?", help="digits@v3, or digits for the newest, or its recipe; without it: all "
                      "datasets")  # fmt: skip
    show.add_argument("--quarantine", nargs="?", const="", metavar="RULE", help="why rows were dropped, with examples "
                      "and what other thresholds would bring back; of all rules, or of one")  # fmt: skip
    diff = _with_lake(verb("diff", "what is different between two versions: rows, labels, scores, recipe"))
    diff.add_argument("before", help="digits@v3; alone, it is compared with the version before it, and digits alone "
                      "compares its two newest")  # fmt: skip
    diff.add_argument("after", nargs="?", help="digits@v4")
    diff.add_argument("--rows", action="store_true", help="list the rows: + added, - removed, ~ changed, > moved")
    diff.add_argument("--limit", type=_count, default=20, help="(--rows) how many of each sort (20)")
    diff.add_argument("--json", action="store_true", help="all of it as one JSON object; pairs are [before, after]")
    diff.add_argument("--exit-code", action="store_true", help="exit 10 when their rows differ; without it a diff is "
                      "no failure, and exits 0")  # fmt: skip
    tag = _with_lake(verb("tag", "let a tag name a version: digits@gold is digits@v3 until it is moved"))
    tag.add_argument("release", help="digits@v3; with --delete digits@gold")
    tag.add_argument("name", nargs="?", help="gold: lower-case letters, digits, '.', '_' and '-'")
    tag.add_argument("--delete", action="store_true", help="take the tag away; its version stays")
    withdraw = _with_lake(verb("withdraw", "take a version from its readers; its files stay until gc"))
    withdraw.add_argument("release", help="digits@v3")
    what = withdraw.add_mutually_exclusive_group(required=True)
    what.add_argument("--reason", help='what readers are told who ask for it: "wrong labels"')
    what.add_argument("--undo", action="store_true", help="give it back")
    trace = _with_lake(verb("trace", "the whole story of a row, both ways"))
    trace.add_argument("row", help="an id, its first 8 digits or more, a URL, id.png, or a file of a release: "
                       "train/real-00000-of-00001.parquet")  # fmt: skip
    trace.add_argument("--in", dest="inside", metavar="RELEASE", help="as this release was built: digits@v3; default: "
                       "the newest that has it")  # fmt: skip
    trace.add_argument("--replay", action="store_true", help="make it again from what is on the lake, and compare; "
                       "exit code 1 when something differs")  # fmt: skip
    trace.add_argument("--json", action="store_true", help="for programs; with all members, copies and shards")
    export = _with_lake(verb("export", "copy a release into a folder of plain files"))
    export.add_argument("release", help="digits@v3, or digits for the newest")
    export.add_argument("folder", type=Path, nargs="?", help="default: named after the release")
    export.add_argument("--format", choices=["parquet", "png"], default="parquet", help="parquet, as it lies on the "
                        "lake, or png: split/label/id.png, metadata.csv and sheets of samples")  # fmt: skip


def _keeping(verb: Verb) -> None:
    """What keeps a lake and a machine in order."""
    options(
        _with_cluster(_with_lake(verb("forget", "take rows out of a lake, with all that was made of them, for good")))
    )
    gc = _with_lake(verb("gc", "take away what nothing on a lake needs any more"))
    gc.add_argument(
        "--grace", type=_seconds, default="7d", metavar="AGE", help="what is younger stays: 12h, 7d (7d), 0"
    )
    gc.add_argument("--yes", action="store_true", help="do it; without it, only say what would go")
    verify = _with_lake(verb("verify", "check that a lake is whole, and make again what is damaged"))
    verify.add_argument("dataset", nargs="?", help="only what this dataset needs; without it, the whole lake")
    verify.add_argument("--quick", action="store_true", help="compare sizes and receipts, without reading all bytes")
    verify.add_argument("--heal", action="store_true", help="make again what can be made again")
    lake = verb("lake", "the embedded S3 server of this folder, and what is on a lake")
    lake.add_argument("what", choices=["up", "down", "ls"])
    lake.add_argument("prefix", nargs="?", default="", help="(ls) only names that begin so")
    _with_lake(lake)
    verb("schema", "print the recipe's JSON Schema, for editors")
    _with_lake(verb("doctor", "check this machine: packages, lake, cores, memory, disk"))


def _with_recipe(new: argparse.ArgumentParser) -> argparse.ArgumentParser:
    new.add_argument("recipe", type=Path, help="a recipe, a YAML file")
    return _with_lake(new)


def _with_lake(new: argparse.ArgumentParser) -> argparse.ArgumentParser:
    new.add_argument("--lake", help="s3://bucket/prefix or file:///path, instead of the recipe's or the embedded one")
    return new


def _with_cluster(new: argparse.ArgumentParser) -> argparse.ArgumentParser:
    new.add_argument("--address", help="a running Ray cluster; default: RAY_ADDRESS, else one on this machine")
    new.add_argument("--cpus", type=int, help="cores of the local Ray; default: all")
    return new


def _with_accept(new: argparse.ArgumentParser) -> argparse.ArgumentParser:
    new.add_argument("--accept", metavar="REASON", help="release synthetic rows although gates fail; the card and "
                     "the report say why")  # fmt: skip
    return new


def _count(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1")
    return int(text)


def _seconds(text: str) -> float:
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS_S else (text, "s")
    if not number.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no age: write 30m, 12h or 7d")
    return int(number) * _UNITS_S[unit]
