"""What may be asked of `dsray forget`, and how; the same for its job on a cluster."""

import argparse
from pathlib import Path


def options(parser: argparse.ArgumentParser) -> None:
    """Adds the options to a parser."""
    for name, words in (
        ("url", "rows of this URL, and those that this page named"), ("host", "rows of this host, and those that its "
        "pages named"), ("id", "the row of this id"), ("source", "all rows of a source of the recipe"),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", action="append", default=[], metavar=name.upper(), help=words)
    parser.add_argument("--ids", type=Path, metavar="FILE", help="the rows whose ids a file has, one a line")
    parser.add_argument("--where", metavar="QUESTION", help="rows for which it is true, by columns of raw rows, facts "
                        "and labels: \"blur < 3 and label == '7'\"")  # fmt: skip
    parser.add_argument("--only", action="store_true", help="without duplicates and near-duplicates of these rows")
    parser.add_argument("--reason", default="", help="why; the record keeps it")
    parser.add_argument("--by", default="", metavar="NAME", help="who signs the record; default: the user's name")
    parser.add_argument("--yes", action="store_true", help="do it; without, only say what it would take")
    parser.add_argument("--continue", action="store_true", dest="go_on", help="carry on orders that were stopped")
    parser.add_argument("--no-build", action="store_true", help="do not build the datasets again that lose rows")
