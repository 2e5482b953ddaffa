"""Other ways in than the web. Each module has the same two functions: `pieces` says what there is to read, as
independent pieces of work, and `rows` reads one of them. Pure: neither Ray nor Scrapy is known here."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dsray.collection import Source
from dsray.sources.piece import Piece
from dsray.sources.rows import Row

WAYS = ("files", "warc", "sql", "hub")
READERS = (*WAYS, "archives", "tables")


def settings(source: Source) -> Any:
    """What the recipe says of the source's one way in."""
    return next(found for way in WAYS if (found := getattr(source, way)) is not None)


def anchored(source: Source) -> Source:
    """The source with absolute paths: workers may run in other folders."""
    if source.sql and urlsplit(source.sql.database).scheme == "sqlite":
        from dsray.sources.sql import address

        return Source(sql=source.sql.model_copy(update={"database": address(source.sql.database)}))
    if source.hub and Path(source.hub.path).exists():
        return Source(hub=source.hub.model_copy(update={"path": str(Path(source.hub.path).absolute())}))
    return source


def pieces(source: Source) -> list[Piece]:
    """What there is to read, in an order that only depends on what there is."""
    way = next(way for way in WAYS if getattr(source, way) is not None)
    found: list[Piece] = import_module(f"{__name__}.{way}").pieces(settings(source))
    return found


def rows(piece: Piece, name: str, source: Source) -> Iterator[Row]:
    """The raw rows of one piece."""
    if piece.reader not in READERS:
        raise ValueError(f"no reader {piece.reader!r}")
    yield from import_module(f"{__name__}.{piece.reader}").rows(piece, name, settings(source))
