"""Statements and what they touch, as a table."""

from __future__ import annotations

import logging

import pytest

from stewards.statements import Tables, collection_name, tables


def touched(reads: str = "", writes: str = "") -> Tables:
    return Tables(frozenset(reads.split()), frozenset(writes.split()))


@pytest.mark.parametrize(
    ("system", "statement", "expected"),
    [
        ("sqlite", "SELECT sku FROM products WHERE sku = ?", touched("products")),
        (
            "sqlite",
            "SELECT a.x FROM orders AS a JOIN lines b ON a.n = b.n",
            touched("orders lines"),
        ),
        ("sqlite", "INSERT INTO orders (id, name) VALUES (?..)", touched("", "orders")),
        ("sqlite", "REPLACE INTO orders VALUES (?)", touched("", "orders")),
        ("mysql", "REPLACE INTO t SELECT * FROM s", touched("s", "t")),
        ("postgresql", "INSERT INTO t SELECT * FROM s", touched("s", "t")),
        (
            "postgresql",
            "INSERT INTO t VALUES ($1) ON CONFLICT (id) DO UPDATE SET a = 1",
            touched("", "t"),
        ),
        ("postgresql", "UPDATE t SET a = %s FROM s WHERE s.i = t.i", touched("s", "t")),
        ("mysql", "UPDATE t JOIN s ON t.a = s.a SET t.x = 1", touched("s", "t")),
        ("postgresql", "DELETE FROM t WHERE id IN (SELECT id FROM u)", touched("u", "t")),
        ("mysql", "DELETE o FROM orders AS o JOIN s ON o.a = s.a", touched("s", "orders")),
        (
            "microsoft.sql_server",
            "MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN UPDATE SET a = 1;",
            touched("s", "t"),
        ),
        ("microsoft.sql_server", "SELECT * INTO n FROM o", touched("o", "n")),
        ("postgresql", "CREATE TABLE n AS SELECT * FROM o", touched("o", "n")),
        ("sqlite", "CREATE TABLE t (a INT REFERENCES u (a))", touched("", "t")),
        ("postgresql", "TRUNCATE TABLE a, b", touched("", "a b")),
        ("sqlite", "DROP TABLE IF EXISTS t", touched("", "t")),
        ("postgresql", "COPY t FROM STDIN", touched("", "t")),
        # A view, an index, a transaction, a ping: no rows of a table.
        ("postgresql", "CREATE VIEW v AS SELECT * FROM o", touched()),
        ("sqlite", "CREATE INDEX i ON t (a)", touched()),
        ("sqlite", "BEGIN IMMEDIATE", touched()),
        ("sqlite", "SELECT 1", touched()),
        ("sqlite", "PRAGMA main.table_info(orders)", touched()),
        # Names that the statement makes itself.
        ("postgresql", "WITH x AS (SELECT * FROM a) SELECT * FROM x", touched("a")),
        (
            "postgresql",
            "WITH x AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM x",
            touched("", "a b"),
        ),
        ("postgresql", "SELECT * FROM generate_series(1, 2)", touched()),
        # The database's own catalog.
        ("sqlite", "SELECT name FROM sqlite_master", touched()),
        ("postgresql", "SELECT * FROM information_schema.tables, pg_class", touched()),
        # Names as the database resolves them.
        ("postgresql", 'SELECT * FROM Orders, "Orders"', touched("orders Orders")),
        ("postgresql", "SELECT * FROM Sales.Orders", touched("sales.orders")),
        ("sqlite", 'SELECT * FROM main."Orders"', touched("orders")),
        ("microsoft.sql_server", "SELECT * FROM [dbo].[Orders]", touched("dbo.orders")),
        # Several statements in one.
        ("sqlite", "SELECT 1; DELETE FROM t", touched("", "t")),
        # Other languages are not guessed at.
        ("redis", "GET session:4711", touched()),
        ("mongodb", '{"find": "orders"}', touched()),
    ],
)
def test_tables_of_a_statement(system: str, statement: str, expected: Tables) -> None:
    assert tables(system, statement, "", "") == expected


@pytest.mark.parametrize("statement", ["SELECT * FROM (", "gar{bage", "SELECT 'open", "(" * 5000])
def test_what_cannot_be_parsed_is_said_to_be_so(statement: str) -> None:
    assert tables("sqlite", statement, "", "") is None


@pytest.mark.parametrize(
    ("system", "statement", "collection", "verb", "expected"),
    [
        ("mongodb", "", "orders", "find", touched("orders")),
        ("mongodb", "", "orders", "insertMany", touched("", "orders")),
        ("mongodb", "", "orders", "find_one_and_update", touched("", "orders")),
        ("aws.dynamodb", "", "Orders", "PutItem", touched("", "Orders")),
        ("postgresql", "", "public.Orders", "SELECT", touched("public.orders")),
        ("postgresql", "SELECT * FROM", "orders", "SELECT", touched("orders")),
        ("postgresql", "", "orders", "SELECT shop.orders", touched("orders")),
        ("mongodb", "", "orders", "ping", touched()),
        ("mongodb", "", "", "find", touched()),
    ],
)
def test_collection_and_verb_serve_where_no_statement_does(
    system: str, statement: str, collection: str, verb: str, expected: Tables
) -> None:
    assert tables(system, statement, collection, verb) == expected


def test_a_statement_and_an_attribute_name_the_same_table_alike() -> None:
    spelled = collection_name("postgresql", "Orders")
    assert tables("postgresql", "SELECT * FROM Orders", "", "") == touched(spelled)


def test_no_statement_reaches_a_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        assert tables("mysql", "CALL charge('sk_live_4711')", "", "") == touched()
        assert tables("sqlite", "EXPLAIN SELECT 'sk_live_4711'", "", "") == touched()
    assert "sk_live" not in caplog.text
