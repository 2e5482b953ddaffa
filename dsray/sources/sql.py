"""A query's rows, from PostgreSQL or SQLite, by ranges of an integer key. Read-only; passwords are nowhere but in the
environment.

Ranges begin at multiples of their width, so that a row that comes or goes changes its own range only. The database
counts rows by range; keys are never listed. A range is read each time, since only reading tells whether it changed.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from dsray.collection import Sql
from dsray.errors import DsrayError, SourceError
from dsray.sources.piece import Piece
from dsray.sources.rows import Row, bad
from dsray.sources.tables import record

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_AT_ONCE = 10_000
"""Ranges that are fetched from the driver's answer together."""


def pieces(config: Sql) -> list[Piece]:
    """A piece each range that has rows, in the order of the key, and one for rows whose key is no integer."""
    key = _quoted(config.key)
    whole = _is_integer(config)
    low = f"{key} - (({key} % {config.rows} + {config.rows}) % {config.rows})"
    found: list[int] = []
    with _cursor(config) as cursor:
        _lacking(config, cursor)
        query = f"SELECT {low} AS low FROM {_inner(config)} WHERE {whole} GROUP BY 1 ORDER BY 1"
        _execute(cursor, query, config.params)
        while part := cursor.fetchmany(_AT_ONCE):
            found += [_integer(config, row[0]) for row in part]
        _execute(cursor, f"SELECT count(*) FROM {_inner(config)} WHERE NOT ({whole})", config.params)
        lost = int(cursor.fetchone()[0])
    made = [Piece("sql", {"low": low, "high": low + config.rows}, None) for low in found]
    return [*made, *([Piece("sql", {"lost": lost}, None)] if lost else [])]


def rows(piece: Piece, source: str, config: Sql) -> Iterator[Row]:
    """A row each key of the range; a key that comes twice is a row that says so."""
    place = address(config.database)
    if "lost" in piece.what:
        for number in range(piece.what["lost"]):
            yield bad(source, f"{place}#key=", "key", "no integer", at=f"{place}#key=@{number}")
        return
    media, texts = [config.media], list(config.texts.values())
    columns = [f"CAST({_quoted(name)} AS {type_}) AS {_quoted(f'c{index}')}" if type_ else
               f"{_quoted(name)} AS {_quoted(f'c{index}')}"
               for index, (name, type_) in enumerate(_typed(config, media, texts))]  # fmt: skip
    key, first = _quoted(config.key), len(config.params) + 1
    begin, end = (f"${first}::bigint", f"${first + 1}::bigint") if _postgres(config) else ("?", "?")
    query = (
        f"SELECT {key} AS k, {', '.join(columns)} FROM {_inner(config)} "
        f"WHERE {_is_integer(config)} AND {key} >= {begin} AND {key} < {end} ORDER BY {key}"
    )
    seen, twice = None, 0
    with _cursor(config) as cursor:
        _execute(cursor, query, [*config.params, piece.what["low"], piece.what["high"]])
        for batch in _batches(cursor):
            for cells in batch.to_pylist():
                number = cells["k"]
                twice = twice + 1 if number == seen else 0
                seen = number
                url = f"{place}#key={number}"
                if twice:
                    yield bad(source, url, "key", "comes more than once", at=f"{url}@{twice}")
                    continue
                found = {column: cells[f"c{1 + index}"] for index, column in enumerate(config.texts)}
                yield record(source, url, cells["c0"], found)


def address(database: str) -> str:
    """Where rows come from: the database's URL without user, password or options."""
    parts = urlsplit(database)
    if parts.scheme == "sqlite":
        return f"sqlite://{quote(_sqlite_path(database))}"
    host = parts.netloc.rpartition("@")[2]
    return f"postgresql://{host}{parts.path}"


def _inner(config: Sql) -> str:
    """The query as a table; the line's end ends a comment."""
    return f"({config.query.strip().rstrip(';')}\n) q"


def _typed(config: Sql, media: Sequence[str], texts: Sequence[str]) -> list[tuple[str, str]]:
    """Columns and what they are cast to: in SQLite a column has no type, each of its values has."""
    loose = not _postgres(config)
    return [*((name, "BLOB" if loose else "") for name in media), *((name, "TEXT" if loose else "") for name in texts)]


def _postgres(config: Sql) -> bool:
    return urlsplit(config.database).scheme in ("postgresql", "postgres")


def _is_integer(config: Sql) -> str:
    key = _quoted(config.key)
    return f"{key} IS NOT NULL" if _postgres(config) else f"typeof({key}) = 'integer'"


def _quoted(name: str) -> str:
    """An identifier that can only be one."""
    if not _IDENTIFIER.fullmatch(name):
        raise SourceError(f"{name!a} is not the name of a column.", "Rename it in the query: `SELECT ... AS name`.")
    return f'"{name}"'


def _integer(config: Sql, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise SourceError(f"The key '{config.key}' is no integer.", "Cast it in the query, or choose another column.")
    return value


def _lacking(config: Sql, cursor: Any) -> None:
    """Refuses a query without the columns asked for: SQLite would take their quoted names for texts."""
    _execute(cursor, f"SELECT * FROM {_inner(config)} LIMIT 0", config.params)
    names = [column[0] for column in cursor.description or ()]
    cursor.fetchall()
    lost = sorted({config.key, config.media, *config.texts.values()} - set(names))
    if lost:
        raise SourceError(f"The query's answer has no column {', '.join(lost)}.", f"It has {', '.join(names)}.")


@contextmanager
def _cursor(config: Sql) -> Iterator[Any]:
    """A cursor in a read-only transaction."""
    driver = _driver(config)
    try:
        connection = driver.connect(_uri(config))
    except Exception as error:
        raise _said(error, config) from None
    try:
        with connection.cursor() as cursor:
            if _postgres(config):
                _execute(cursor, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", [])
            yield cursor
    except DsrayError:
        raise
    except Exception as error:
        raise _said(error, config) from None
    finally:
        connection.close()


def _driver(config: Sql) -> Any:
    scheme = urlsplit(config.database).scheme
    name = {"postgresql": "postgresql", "postgres": "postgresql", "sqlite": "sqlite"}.get(scheme)
    if not name:
        raise SourceError(f"Databases of '{scheme}' cannot be read.", "Use postgresql:// or sqlite:///.")
    try:
        return import_module(f"adbc_driver_{name}.dbapi")
    except ImportError:
        raise SourceError(
            "Reading a database needs its ADBC driver.", "Install it: pip install 'dsray[sql]'."
        ) from None


def _uri(config: Sql) -> str:
    if _postgres(config):
        return config.database
    path = _sqlite_path(config.database)
    if not Path(path).is_file():
        raise SourceError(f"There is no database at {path}.", "Write sqlite:///absolute/path or sqlite:relative/path.")
    return f"file:{quote(path)}?mode=ro"


def _sqlite_path(database: str) -> str:
    return str(Path(unquote(urlsplit(database).path)).absolute()).replace("//", "/")


def _execute(cursor: Any, query: str, params: Sequence[Any]) -> None:
    cursor.execute(query, list(params)) if params else cursor.execute(query)


def _batches(cursor: Any) -> Iterator[Any]:
    yield from cursor.fetch_record_batch()


def _said(error: Exception, config: Sql) -> DsrayError:
    """A driver's error as one sentence, without anything secret."""
    if isinstance(error, DsrayError):
        return error
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = (lines or [type(error).__name__])[0]
    text = re.sub(r"^[A-Z_]+: (\[libpq\] )?", "", text)
    for secret in (os.environ.get("PGPASSWORD"), urlsplit(config.database).password):
        text = text.replace(secret, "...") if secret else text
    return SourceError(
        f"{address(config.database)} does not answer the query: {text[:300].rstrip('.')}.",
        "Check the query, the address and PGPASSWORD.",
    )
