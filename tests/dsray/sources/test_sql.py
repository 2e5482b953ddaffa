"""dsray.sources.sql on a real PostgreSQL, started here as a user without rights, and on SQLite."""

import json
import sqlite3
import sys
import tracemalloc
from pathlib import Path

import pytest
from pydantic import ValidationError

from database import SECRET
from dsray import recipe
from dsray.collection import Sql
from dsray.errors import RecipeError, SourceError
from dsray.sources import sql
from dsray.sources.rows import table


@pytest.fixture
def word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", SECRET)


def run(database: str, *statements: str) -> None:
    if database.startswith("sqlite"):
        with sqlite3.connect(database.removeprefix("sqlite://")) as connection:
            connection.executescript(";\n".join(statements))
        connection.close()
        return
    import adbc_driver_postgresql.dbapi as driver

    with driver.connect(database) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        connection.commit()


@pytest.fixture(params=["postgresql", "sqlite"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A table t of 25 rows: keys -5 to 19, a split each."""
    if request.param == "sqlite":
        address, blob = f"sqlite://{tmp_path}/x.db", "BLOB"
    else:
        request.getfixturevalue("word")
        address, blob = request.getfixturevalue("postgres"), "BYTEA"
    cell = "'p{0}'" if blob == "BYTEA" else "CAST('p{0}' AS BLOB)"
    row = f"({{0}}, {cell}, 'c{{0}}', '{{1}}')"
    values = ", ".join(row.format(n, "a" if n < 15 else "b") for n in range(-5, 20))
    run(address, "DROP TABLE IF EXISTS t", f"CREATE TABLE t (id INTEGER, img {blob}, caption TEXT, split TEXT)",
        f"INSERT INTO t VALUES {values}")  # fmt: skip
    return address


def config_of(database: str, **more) -> Sql:
    said = {"query": "SELECT * FROM t", "key": "id", "media": "img", "texts": {"caption": "caption"}, "rows": 10}
    return Sql(database=database, **{**said, **more})


def rows_of(config: Sql) -> list[dict]:
    found = [row for piece in sql.pieces(config) for row in sql.rows(piece, "s", config)]
    assert len({row["id"] for row in found}) == len(found)
    assert table(found, config.texts).num_rows == len(found)
    assert SECRET not in str(found)
    return found


def test_ranges_are_the_whole_answer(database):
    config = config_of(database)
    assert [piece.what for piece in sql.pieces(config)] == [{"low": low, "high": low + 10} for low in (-10, 0, 10)]
    found = rows_of(config)
    assert [(row["payload"], row["caption"]) for row in found] == [(b"p%d" % n, f"c{n}") for n in range(-5, 20)]
    place = database.replace("tester@", "")
    assert [row["url"] for row in found][:2] == [f"{place}#key=-5", f"{place}#key=-4"]
    assert all(row["fetched_at"] is None for row in found)


def test_parameters_fill_the_query_and_never_the_text(database):
    mark, second = ("?", "?") if database.startswith("sqlite") else ("$1", "$2")
    query = f"SELECT * FROM t WHERE split = {mark} AND id > {second}"
    assert len(rows_of(config_of(database, query=query, params=["b", 16]))) == 3
    assert sql.pieces(config_of(database, query=query, params=["b'; DROP TABLE t; --", 0])) == []
    assert len(rows_of(config_of(database))) == 25


def test_ranges_without_rows_are_no_pieces_and_keys_are_never_listed(database):
    run(database, "INSERT INTO t SELECT 2000000000, img, caption, split FROM t WHERE id = 1")
    tracemalloc.start()
    pieces = sql.pieces(config_of(database))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [piece.what["low"] for piece in pieces] == [-10, 0, 10, 2_000_000_000]
    assert peak < 2**20


def test_a_row_more_changes_its_range_only(database):
    def tables(config: Sql) -> list:
        return [table(sql.rows(piece, "s", config), config.texts) for piece in sql.pieces(config)]

    before = tables(config_of(database))
    run(database, "DELETE FROM t WHERE id = -5", "UPDATE t SET caption = 'new' WHERE id = 13")
    after = tables(config_of(database))
    assert [a.equals(b) for a, b in zip(before, after, strict=True)] == [False, True, False]


def test_keys_that_are_none_and_doubles_are_rows(database):
    run(database, "INSERT INTO t SELECT NULL, img, caption, split FROM t WHERE id IN (1, 2)")
    run(database, "INSERT INTO t SELECT id, img, caption, split FROM t WHERE id = 3")
    run(database, "UPDATE t SET img = NULL WHERE id = 4")
    found = rows_of(config_of(database))
    assert len(found) == 28
    said = [json.loads(row["evidence"]) for row in found if row.get("error")]
    assert [evidence["signal"] for evidence in said] == ["key", "media", "key", "key"]


def test_nothing_is_written(database):
    with pytest.raises(SourceError) as caught:
        sql.pieces(config_of(database, query="DELETE FROM t RETURNING *"))
    assert len(str(caught.value).splitlines()) == 1
    assert len(rows_of(config_of(database))) == 25


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"key": 'id" OR 1=1 --'}, "is not the name of a column"),
        ({"media": "nope"}, "The query's answer has no column nope"),
        ({"query": "SELECT * FROM nowhere"}, "does not answer the query"),
    ],
)
def test_a_wrong_query_is_one_sentence(database, more, said):
    with pytest.raises(SourceError, match=said) as caught:
        sql.pieces(config_of(database, **more))
    assert SECRET not in str(caught.value) and caught.value.__cause__ is None


def test_a_key_that_is_no_integer(database):
    config = config_of(database, key="caption")
    if database.startswith("sqlite"):
        assert {row["error"] for row in rows_of(config)} == {"invalid"}
        return
    with pytest.raises(SourceError):
        sql.pieces(config)


def test_sqlite_values_of_many_types(tmp_path):
    run(f"sqlite://{tmp_path}/x.db", "CREATE TABLE t (id, img, caption)",
        "INSERT INTO t VALUES (1, x'ff', 7), (2, 'text', NULL), (3, NULL, 'c'), ('x', 1, 1), (1.5, 1, 1)")  # fmt: skip
    found = rows_of(config_of(f"sqlite://{tmp_path}/x.db"))
    assert [(row.get("payload"), row.get("caption")) for row in found] == [
        (b"\xff", "7"), (b"text", None), (None, None), (None, None), (None, None),
    ]  # fmt: skip


def test_a_wrong_password_is_not_repeated(postgres, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "wr0ng-w0rd")
    with pytest.raises(SourceError) as caught:
        sql.pieces(config_of(postgres))
    assert "password authentication failed" in str(caught.value) and "wr0ng-w0rd" not in str(caught.value)


@pytest.mark.parametrize("database", [f"postgresql://u:{SECRET}@h/d", f"postgresql://h/d?password={SECRET}"])
def test_a_recipe_holds_no_password(database):
    with pytest.raises(ValidationError, match="a recipe holds no passwords"):
        config_of(database)
    text = f"dataset: d\ncollect: {{a: {{sql: {{database: '{database}', query: q, key: id, media: m}}}}}}\n"
    with pytest.raises(RecipeError, match="a recipe holds no passwords") as caught:
        recipe.parse(text)
    assert SECRET not in str(caught.value)


def test_an_address_shows_where_and_nothing_else():
    assert sql.address("postgresql://me@h:5433/d?sslmode=require") == "postgresql://h:5433/d"
    assert sql.address("sqlite:a b.db") == f"sqlite://{Path.cwd()}/a%20b.db"


def test_no_driver_no_database_and_no_such_kind(tmp_path, monkeypatch):
    with pytest.raises(SourceError, match=r"There is no database at /no/x\.db"):
        sql.pieces(config_of("sqlite:///no/x.db"))
    with pytest.raises(SourceError, match="Databases of 'mysql' cannot be read"):
        sql.pieces(config_of("mysql://h/d"))
    monkeypatch.setitem(sys.modules, "adbc_driver_sqlite.dbapi", None)
    with pytest.raises(SourceError, match=r"pip install 'dsray\[sql\]'"):
        sql.pieces(config_of(f"sqlite://{tmp_path}/x.db"))


def test_a_million_keys_are_a_hundred_ranges(tmp_path):
    run(f"sqlite://{tmp_path}/x.db", "CREATE TABLE t (id INTEGER, img BLOB)",
        "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999999) "
        "SELECT i, x'ff' FROM n")  # fmt: skip
    config = config_of(f"sqlite://{tmp_path}/x.db", texts={}, rows=10_000)
    tracemalloc.start()
    pieces = sql.pieces(config)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(pieces) == 100 and peak < 2**20
    assert sum(1 for _ in sql.rows(pieces[7], "s", config)) == 10_000
