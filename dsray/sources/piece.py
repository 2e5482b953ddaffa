"""A piece of a source: what one task reads and turns into one raw shard."""

from dataclasses import asdict, dataclass
from typing import Any

from dsray import keys
from dsray.lake.folder import File


@dataclass(frozen=True)
class Piece:
    """`reader` names the module whose `rows` reads it; `what` is JSON and says what to read.

    `fingerprint` changes when the content does. None: nobody can know without reading, so it is read each time.
    """

    reader: str
    what: dict[str, Any]
    fingerprint: str | None

    def json(self) -> dict[str, Any]:
        return asdict(self)


def of_files(reader: str, files: list[File], **more: Any) -> Piece:
    """A piece of listed files: their URLs and stamps are its fingerprint."""
    what = {"files": [list(file) for file in files], **more}
    return Piece(reader, what, keys.digest(keys.canonical(what)))


def files_of(piece: Piece) -> list[File]:
    return [File(*said) for said in piece.what["files"]]
