"""Tables: a row each record of Parquet, CSV (with a header) and JSON lines, the latter two also as .gz."""

import csv
import gzip
import io
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO, Any, cast

import pyarrow.parquet as pq

from dsray.collection import Files
from dsray.lake import folder
from dsray.lake.folder import UNREADABLE, File
from dsray.sources.piece import Piece, files_of, of_files
from dsray.sources.rows import MOST_BYTES, Row, bad, damage, good, text_of

_PARQUET, _CSV, _JSONL = (".parquet",), (".csv", ".csv.gz"), (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")

PIECE_BYTES = 64 * 2**20
"""Of row groups, before compression, that one piece takes together."""
_AT_ONCE = 64  # Parquet rows in memory, beside those of the row group


def reads(name: str) -> bool:
    return name.lower().endswith(_PARQUET + _CSV + _JSONL)


def pieces(file: File, config: Files) -> list[Piece]:
    """Parquet by runs of row groups, from its footer alone; another file is one piece. Only the columns that are asked
    for matter."""
    if not config.media or file.stamp == UNREADABLE or not file.name.lower().endswith(_PARQUET):
        return [of_files("tables", [file])]
    try:
        with folder.reader(file) as stream:
            meta = pq.ParquetFile(stream).metadata
        sizes = [(meta.row_group(i).total_byte_size, meta.row_group(i).num_rows) for i in range(meta.num_row_groups)]
    except Exception as error:
        damage(error)
        return [of_files("tables", [file])]  # reading it says what is wrong
    made, first, row, size, count = [], 0, 0, 0, 0
    for index, (bytes_, rows_) in enumerate(sizes):
        if index > first and size + bytes_ > PIECE_BYTES:
            made.append(of_files("tables", [file], groups=[first, index], row=row))
            first, row, size, count = index, row + count, 0, 0
        size, count = size + bytes_, count + rows_
    return [*made, of_files("tables", [file], groups=[first, len(sizes)], row=row)]


def rows(piece: Piece, source: str, config: Files) -> Iterator[Row]:
    """A row each record, and a row where the table breaks off."""
    (file,) = files_of(piece)
    name = file.name.lower()
    if file.stamp == UNREADABLE or not config.media:
        why = UNREADABLE if file.stamp == UNREADABLE else "the source names no column of tables"
        yield bad(source, file.url, "table", why, file.changed_at)
        return
    with ExitStack() as stack:
        try:
            stream: IO[bytes] = stack.enter_context(folder.reader(file))
            if name.endswith(".gz"):
                stream = cast(IO[bytes], stack.enter_context(gzip.open(stream)))
            if name.endswith(_PARQUET):
                yield from _parquet(stream, piece, source, file, config)
            elif name.endswith(_CSV):
                yield from _csv(stream, source, file, config)
            else:
                yield from _jsonl(stream, source, file, config)
        except Exception as error:
            at = f"{file.url}@{piece.what.get('groups', '')}"
            yield bad(source, file.url, "table", damage(error), file.changed_at, at)


def record(
    source: str, url: str, value: Any, texts: dict[str, Any], file: File | None = None, lacking: str = "media"
) -> Row:
    """The row of one record: `value` is bytes, text, or {bytes, path}; texts are whatever the columns held."""
    when = file.changed_at if file else None
    payload = value.get("bytes") if isinstance(value, dict) else value
    try:
        found = {column: text_of(text) for column, text in texts.items()}
        if isinstance(payload, str):
            payload = payload.encode()
    except (ValueError, RecursionError) as error:
        return bad(source, url, "text", damage(error), when)
    if not isinstance(payload, bytes):
        return bad(source, url, lacking, f"no bytes and no text: {type(payload).__name__}", when)
    if len(payload) > MOST_BYTES:
        return bad(source, url, "size", len(payload), when)
    return good(source, url, payload, found, when)


def _lacking(source: str, file: File, config: Files, names: list[str]) -> Row | None:
    """The row of a table without the columns that the source asks for."""
    lost = sorted({config.media, *config.texts.values()} - set(names))
    return bad(source, file.url, "column", ", ".join(lost), file.changed_at) if lost else None


def _parquet(stream: IO[bytes], piece: Piece, source: str, file: File, config: Files) -> Iterator[Row]:
    shard = pq.ParquetFile(stream)
    lost = _lacking(source, file, config, shard.schema_arrow.names)
    if lost:
        yield lost
        return
    first, last = piece.what.get("groups", [0, shard.num_row_groups])
    number = piece.what.get("row", 0)
    columns = sorted({config.media, *config.texts.values()})
    for group in range(first, last):
        read, many = 0, shard.metadata.row_group(group).num_rows
        try:
            for batch in shard.iter_batches(_AT_ONCE, row_groups=[group], columns=columns):
                for cells in batch.to_pylist():
                    texts = {column: cells[said] for column, said in config.texts.items()}
                    yield record(source, f"{file.url}#row={number + read}", cells[config.media], texts, file)
                    read += 1
        except Exception as error:
            why = damage(error)
            for row in range(number + read, number + many):  # each row that is lost is a row
                yield bad(source, f"{file.url}#row={row}", "row group", why, file.changed_at)
        number += many


def _csv(stream: IO[bytes], source: str, file: File, config: Files) -> Iterator[Row]:
    csv.field_size_limit(MOST_BYTES)
    lines = csv.reader(io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline=""))
    names = next(lines, [])
    lost = _lacking(source, file, config, names)
    if lost:
        yield lost
        return
    place = {name: index for index, name in reversed(list(enumerate(names)))}
    number = 0
    while True:
        url = f"{file.url}#row={number}"
        number += 1
        try:
            cells = next(lines)
        except StopIteration:
            return
        except csv.Error as error:
            yield bad(source, url, "csv", error, file.changed_at)
            continue
        if not cells:  # an empty line is no record
            number -= 1
        elif len(cells) != len(names):
            yield bad(source, url, "columns", f"{len(cells)} instead of {len(names)}", file.changed_at)
        else:
            texts = {column: cells[place[said]] for column, said in config.texts.items()}
            yield record(source, url, cells[place[config.media]], texts, file)


def _jsonl(stream: IO[bytes], source: str, file: File, config: Files) -> Iterator[Row]:
    number = 0
    while line := stream.readline(MOST_BYTES):
        if not line.strip():
            continue
        url = f"{file.url}#row={number}"
        number += 1
        try:
            cells = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield bad(source, url, "json", damage(error), file.changed_at)
            continue
        if not isinstance(cells, dict):
            yield bad(source, url, "json", type(cells).__name__, file.changed_at)
            continue
        texts = {column: cells.get(said) for column, said in config.texts.items()}
        yield record(source, url, cells.get(config.media), texts, file)
