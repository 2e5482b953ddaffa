"""Opens the lake that a recipe names, or the embedded one of a folder, for as long as it is needed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dsray.errors import LakeError
from dsray.lake.store import Store, open_store, probe

FOLDER = Path(".dsray")
"""Where the embedded lake and what goes with it lie, in the folder that dsray is run from."""


def compact(store: Store) -> None:
    """Where the store is the embedded one of this folder, takes the bytes of deleted objects out of its files."""
    if store.url.startswith("s3://"):
        from dsray.lake import embedded

        embedded.compact(FOLDER.absolute() / "lake", store)


@contextmanager
def opened(url: str | None, folder: Path | None = None) -> Iterator[Store]:
    """The store at `url`, else DSRAY_LAKE, else the embedded S3 server of `folder`; checked to keep its promises."""
    url = url or os.environ.get("DSRAY_LAKE")
    if url:
        store = open_store(url)
        probe(store)
        yield store
        return
    from dsray.lake import embedded  # with its own imports, needed here only

    place = (folder or FOLDER).absolute() / "lake"
    with embedded.serve(place) as server:
        before = dict(os.environ)
        os.environ.update(embedded.environment(server))
        try:
            yield open_store(server.url)
        except LakeError as error:
            if embedded.running(place) is None:
                raise LakeError(
                    f"The embedded S3 server of {place} was ended.",
                    "Run the same command: it starts again and goes on.",
                ) from error
            raise
        finally:
            for name in embedded.environment(server):
                os.environ.pop(name)
                if name in before:
                    os.environ[name] = before[name]
