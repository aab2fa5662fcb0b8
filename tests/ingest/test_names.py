"""Names stay few and never carry what a statement or a path was about."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.names import derived, low_cardinality, summary


@pytest.mark.parametrize(
    ("value", "key", "expected"),
    [
        ("/users/42/orders", "url.path", "/users/{id}/orders"),
        ("/v1/items", "url.path", "/v1/items"),
        ("/x/3f2504e0-4f89-11d3-9a0c-0305e82c3301", "url.path", "/x/{id}"),
        ("/x/3F2504E04F8911D39A0C0305E82C3301", "url.path", "/x/{id}"),
        ("/blob/01ARZ3NDEKTSV4RRFFQ69G5FAV", "url.path", "/blob/{id}"),
        ("/u/jane@example.org/mail", "url.path", "/u/{id}/mail"),
        ("/search?q=secret&page=2", "http.target", "/search"),
        ("https://user:pw@host:1/users/42?x=1#f", "url.full", "/users/{id}"),
        ("https://host", "http.url", "/"),
        ("http://[", "http.url", ""),
        ("/users/:id/2024", "http.route", "/users/:id/2024"),
        ("get", "http.request.method", "GET"),
        ("PURGE42", "http.method", "_OTHER"),
        ("GET /users/42", "span.name", "GET /users/{id}"),
        ("process order 1234", "span.name", "process order {id}"),
        ("calculate_shipping_cost_v2", "span.name", "calculate_shipping_cost_v2"),
        ("reply-3f2504e0-4f89-11d3-9a0c-0305e82c3301", "messaging.destination.name", "{id}"),
        ("orders", "messaging.destination.name", "orders"),
        ("SELECT * FROM t WHERE name = 'secret'", "db.statement", "SELECT t"),
        ("HMSET session:42 token secret", "db.query.text", ""),
    ],
)
def test_values_in_names(value: str, key: str, expected: str) -> None:
    assert low_cardinality(value, key) == expected


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT a, b FROM orders WHERE id = 7", ("SELECT", "orders")),
        ("select 1", ("SELECT", "")),
        ('  (SELECT x FROM shop."Orders" LIMIT 1)', ("SELECT", "shop.Orders")),
        ("/* from evil */ SELECT x -- from worse\n FROM good", ("SELECT", "good")),
        ("SELECT ' FROM fake ' FROM real_table", ("SELECT", "real_table")),
        ("INSERT INTO orders (a) VALUES ('x')", ("INSERT", "orders")),
        ("INSERT OR REPLACE INTO `orders` VALUES (1)", ("INSERT", "orders")),
        ("UPDATE OR IGNORE orders SET a = 'from x'", ("UPDATE", "orders")),
        ("UPDATE ONLY orders SET a = 1", ("UPDATE", "orders")),
        ("DELETE FROM [dbo].[orders]", ("DELETE", "dbo.orders")),
        ("CREATE TABLE IF NOT EXISTS orders (id INT)", ("CREATE", "orders")),
        ("DROP TABLE orders", ("DROP", "orders")),
        ("PRAGMA table_info(orders)", ("PRAGMA", "")),
        ("BEGIN (implicit)", ("BEGIN", "")),
        ("WITH x AS (SELECT 1 FROM y) INSERT INTO z SELECT 1", ("INSERT", "")),
        ("WITH x AS (SELECT 1 FROM y) SELECT 1 FROM x", ("SELECT", "")),
        ("db.orders.find({a: 1})", ("", "")),
        ("secret words", ("", "")),
        ("", ("", "")),
    ],
)
def test_summary_of_a_statement(statement: str, expected: tuple[str, str]) -> None:
    assert summary(statement) == expected


def test_what_older_instrumentation_leaves_inside() -> None:
    attributes = {"db.statement": "SELECT a FROM orders", "http.url": "http://u:p@cart:8080/x"}
    assert derived("db.operation.name", attributes) == "SELECT"
    assert derived("db.collection.name", attributes) == "orders"
    assert derived("server.address", attributes) == "cart"
    assert derived("http.route", attributes) == ""
    assert derived("server.address", {"url.full": "http://["}) == ""
    assert derived("db.operation.name", {}) == ""


@given(st.text(), st.sampled_from(["url.path", "url.full", "span.name", "db.statement", ""]))
def test_any_text_is_taken(value: str, key: str) -> None:
    low_cardinality(value, key)


@pytest.mark.parametrize(
    "hostile",
    [
        "/*" * 4_000,
        "'" * 8_001,
        "SELECT " + "(" * 8_000,
        "SELECT '" + "\\" * 8_000,
        "SELECT FROM " + "a." * 4_000,
        "FROM " * 1_600,
        "a.b" * 2_700,
        "-" * 8_000,
        "1a" * 4_000,
        "@" * 8_000,
    ],
)
def test_hostile_texts_take_no_time(hostile: str) -> None:
    started = time.perf_counter()
    low_cardinality(hostile, "db.statement")
    low_cardinality(hostile, "span.name")
    summary("SELECT " + hostile)
    assert time.perf_counter() - started < 1
