"""Checks of a machine: what dsray needs, whether it is here, and what to do where it is not."""

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from dsray.errors import DsrayError
from dsray.version import __version__

_PACKAGES = ("ray", "pyarrow", "torch", "scrapy", "boto3", "opencv-python-headless", "pillow")
_FREE_GB = 5


def examine(lake: str | None) -> int:
    """Prints one line a check; returns 1 when one failed."""
    failed = 0
    for name, check in (
        ("dsray", _dsray),
        ("packages", _packages),
        ("machine", _machine),
        ("disk", _disk),
        ("lake", lambda: _lake(lake)),
    ):
        try:
            for line in check():
                print(f"  ok    {name:<10} {line}")
        except (DsrayError, OSError) as error:
            failed = 1
            print(f"  WRONG {name:<10} {error}")
    return failed


def _dsray() -> Iterator[str]:
    yield f"{__version__}, Python {platform.python_version()} at {sys.executable}"


def _packages() -> Iterator[str]:
    found, missing = [], []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        raise DsrayError(f"Not installed: {', '.join(missing)}.", "Run `pip install dsray`.")
    yield ", ".join(found)


def _machine() -> Iterator[str]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30 if hasattr(os, "sysconf") else 0
    yield f"{os.cpu_count()} cores, {memory:.0f} GiB of memory, {platform.system()} {platform.machine()}"


def _disk() -> Iterator[str]:
    free = shutil.disk_usage(Path()).free / 2**30
    if free < _FREE_GB:
        raise DsrayError(f"Only {free:.1f} GiB are free here.", f"Free at least {_FREE_GB} GiB.")
    yield f"{free:.0f} GiB free here"


def _lake(url: str | None) -> Iterator[str]:
    from dsray.lake.session import opened
    from dsray.lake.store import probe

    with opened(url) as store:
        probe(store)
        yield f"{store.url} answers, keeps create-only puts and compare-and-swap"
