"""One Ray and one S3 server for the whole session, and raw rows that every stage's tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import settings

from dsray.lake.store import Store, open_store
from rows import drawing, png, raw_table

os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
"""Ray's workers import the tests' own modules too."""

os.environ.setdefault("RAY_worker_niceness", "0")
"""Ray's 15 gives workers a thirtieth of a core that others use too: a training that starts in 40 s took 380 s."""


settings.register_profile("shared", deadline=None)
settings.load_profile("shared")
"""The first example pays for imports, and a shared machine stalls: time is pytest-timeout's to watch."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty lake of files."""
    return open_store(f"file://{tmp_path / 'lake'}")


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """A local Ray of two cores."""
    from dsray.engine.connect import connected

    with connected(cpus=2):
        yield


@pytest.fixture(scope="session")
def raw() -> pa.Table:
    """24 rows: good drawings, then one truncated, empty, noise, blank, doubled, small, and without payload."""
    good = [png(drawing(seed)) for seed in range(17)]
    bad = [
        good[0][:60],
        b"",
        b"\x00\x01nonsense" * 9,
        png(np.zeros((28, 28), np.uint8)),
        good[1],
        png(drawing(3, 12)),
        None,
    ]
    return raw_table(good + bad, errors=[None] * 23 + ["robots"])
