"""Both stores, each test in a place of its own: files, and S3."""

from pathlib import Path

import pytest

from dsray.lake.store import Store, open_store


@pytest.fixture(params=["file", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "s3":
        found: Store = request.getfixturevalue("s3")
        return found
    return open_store(f"file://{tmp_path}/lake")
