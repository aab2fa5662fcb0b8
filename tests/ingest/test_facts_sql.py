"""The facts, read: whatever is asked, within limits. A real engine throughout."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.engine_errors import explain
from ingest.errors import (
    IngestError,
    QueryInvalid,
    QueryLimitReached,
    QueryRefused,
    WarehouseBusy,
    WarehouseError,
    WarehouseUnavailable,
)
from ingest.events import Event
from ingest.warehouse import Warehouse

EVENT = Event(
    project="shop",
    source="otel.span",
    event_id="0",
    time=1_700_000_000_000_000_001,
    duration_ns=5,
    name="GET /cart",
    kind="server",
    status="ok",
    service="web",
    release="1",
    environment="prod",
    session="",
    trace_id="t",
    span_id="s",
    parent_span_id="",
    attributes={"http.route": "/cart"},
    seq=1,
    batch="sha256:a",
    event_class="urn:class",
    rule="urn:rule",
    subject="urn:subject",
)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """A hundred events of shop, one of secret, one unclassified."""
    house = Warehouse(tmp_path_factory.mktemp("filled") / "facts")
    house.insert([EVENT._replace(event_id=str(n), seq=n) for n in range(100)])
    house.insert(
        [
            EVENT._replace(project="secret", event_id="x", name="hidden-name"),
            EVENT._replace(project="other's \\ one", event_id="y", event_class=""),
        ]
    )
    yield house
    house.close()


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT count() FROM events", ((102,),)),
        ("select count(*), Sum(1), COUNT(DISTINCT project) from default.events", ((102, 102, 3),)),
        ("SELECT countIf(class = ''), quantile(0.99)(duration_ns) FROM events", ((1, 5),)),
        ("SELECT number FROM numbers(3) ORDER BY number DESC", ((2,), (1,), (0,))),
        (
            # A union has no order of its own.
            "SELECT a FROM (WITH x AS (SELECT 1 AS a) SELECT a FROM x UNION ALL SELECT 2)"
            " ORDER BY a LIMIT 9",
            ((1,), (2,)),
        ),
        (
            "SELECT nan, inf, NULL, toUInt64(-1), tuple(1, 'a')",
            ((None, None, None, 2**64 - 1, [1, "a"]),),
        ),
        ("SELECT '%(x)s', $$it's$$, 'a\\'b'", (("%(x)s", "it's", "a'b"),)),
        ("SELECT unhex('ff')", (("\ufffd",),)),
        ("SELECT * APPLY toString FROM (SELECT 1)", (("1",),)),
        ("SELECT a FROM (SELECT 1 AS a) ORDER BY a WITH FILL FROM 1 TO 3", ((1,), (2,))),
        ("SELECT sumIf(1, 1), avgOrNull(1), uniqExactIf(1, 1)", ((1, 1, 1),)),
        ("SELECT attributes['http.route'] FROM events LIMIT 1;", (("/cart",),)),
        ("SELECT toStartOfHour(time) AS h FROM events GROUP BY h", (("2023-11-14T22:00:00Z",),)),
        ("SELECT row_number() OVER (ORDER BY number) FROM numbers(2)", ((1,), (2,))),
        ("SELECT normalizeQueryKeepNames('SELECT 1 FROM t')", (("SELECT ? FROM t",),)),
        ("(SELECT 1) EXCEPT (SELECT 2)", ((1,),)),
        ("SELECT arrayMap(x -> x + 1, [1, 2])", (([2, 3],),)),
        ("-- a comment\nSELECT /* here too */ 1", ((1,),)),
    ],
)
def test_what_analysts_write(filled: Warehouse, sql: str, rows: tuple[object, ...]) -> None:
    assert filled.query(sql).rows == rows


def test_more_rows_than_the_limit_are_marked(filled: Warehouse) -> None:
    result = filled.query("SELECT number FROM numbers(100000)", max_rows=10)
    assert [row[0] for row in result.rows] == list(range(10))
    assert result.truncated
    assert not filled.query("SELECT number FROM numbers(10)", max_rows=10).truncated
    assert filled.query("SELECT 1 WHERE 0").rows == ()


REFUSED = [
    "INSERT INTO events (seq) VALUES (1)",
    "INSERT INTO events (seq) SELECT 1",
    "INSERT INTO FUNCTION file('x.csv') SELECT 1",
    "DROP TABLE events",
    "TRUNCATE TABLE events",
    "ALTER TABLE events DELETE WHERE 1",
    "DELETE FROM events WHERE 1",
    "UPDATE events SET name = '' WHERE 1",
    "OPTIMIZE TABLE events",
    "RENAME TABLE events TO gone",
    "CREATE TABLE t (a Int8) ENGINE = Memory",
    "CREATE TEMPORARY TABLE t (a Int8)",
    "CREATE VIEW v AS SELECT 1",
    "CREATE FUNCTION f AS x -> x",
    "CREATE USER u",
    "GRANT ALL ON *.* TO u",
    "ATTACH TABLE t",
    "DETACH TABLE events",
    "SET readonly = 0",
    "USE system",
    "SYSTEM SHUTDOWN",
    "SYSTEM FLUSH LOGS",
    "KILL QUERY WHERE 1",
    "BACKUP TABLE events TO Disk('d', 'x')",
    "EXPLAIN SELECT 1",
    "SHOW TABLES",
    "DESCRIBE events",
    "EXISTS TABLE events",
    "BEGIN TRANSACTION",
    "SELECT 1 PARALLEL WITH SELECT 2",
    "SELECT 1 SETTINGS readonly = 0",
    "SELECT * FROM (SELECT 1 SETTINGS max_execution_time = 1000)",
    "SELECT 1 INTO OUTFILE 'out.csv'",
    "SELECT 1 INTO OUTFILE 'out.csv' FORMAT CSV",
    "SELECT 1 FORMAT CSV",
    "SELECT file('/etc/passwd')",
    "SELECT `file`('/etc/passwd')",
    "SELECT * APPLY file FROM (SELECT '/etc/passwd')",
    "SELECT * APPLY (x -> file(x)) FROM (SELECT '/etc/passwd')",
    "SELECT * REPLACE (file(a) AS a) FROM (SELECT '/etc/passwd' AS a)",
    "SELECT 1 FROM events ORDER BY file('/etc/passwd')",
    "WITH file('/etc/passwd') AS x SELECT x",
    "SELECT count() OVER (PARTITION BY file('/etc/passwd')) FROM events",
    "SELECT * FROM file('/etc/passwd', 'LineAsString')",
    "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a String')",
    "SELECT * FROM s3('http://127.0.0.1:1/b/x', 'CSV', 'a String')",
    "SELECT * FROM remote('127.0.0.1', default.events)",
    "SELECT * FROM cluster('default', default.events)",
    "SELECT * FROM executable('ls', 'TSV', 'a String')",
    "SELECT * FROM sqlite('x.db', 't')",
    "SELECT * FROM mysql('h', 'd', 't', 'u', 'p')",
    "SELECT * FROM postgresql('h', 'd', 't', 'u', 'p')",
    "SELECT * FROM merge('default', 'events')",
    "SELECT * FROM view(SELECT 1)",
    "SELECT * FROM viewExplain('EXPLAIN', '', (SELECT 1))",
    "SELECT * FROM (EXPLAIN SELECT 1)",
    "SELECT * FROM python('x')",
    "SELECT * FROM dictionary('x')",
    "SELECT * FROM input('a String')",
    "SELECT * FROM mergeTreeIndex('default', 'events')",
    "SELECT * FROM system.tables",
    "SELECT * FROM system.disks",
    "SELECT * FROM `system`.`settings`",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM INFORMATION_SCHEMA.TABLES",
    "SELECT 1 IN system.one",
    "SELECT 1 IN (SELECT 1 FROM system.one)",
    "SELECT (SELECT count() FROM system.tables)",
    "SELECT exists(SELECT 1 FROM system.tables)",
    "SELECT * FROM events WHERE name IN (SELECT name FROM system.tables)",
    "SELECT * FROM events AS e JOIN system.tables AS t ON 1 = 1",
    "SELECT * FROM other.events",
    "SELECT * FROM warehouse_identity",
    "SELECT * FROM events PREWHERE 1",
    "SELECT * FROM nothing",
    "SELECT dictGet('a', 'b', 1)",
    "SELECT joinGet('events', 'name', 1)",
    "SELECT hasColumnInTable('default', 'events', 'name')",
    "SELECT getSetting('readonly')",
    "SELECT getServerSetting('max_connections')",
    "SELECT hostName()",
    "SELECT @@version",
    "SELECT version()",
    "SELECT currentUser()",
    "SELECT sleep(1)",
    "SELECT sleepEachRow(1) FROM numbers(3)",
    "SELECT throwIf(1)",
    "SELECT filesystemAvailable()",
    "SELECT logTrace('x')",
    "SELECT addressToSymbol(1)",
    "SELECT evalMLMethod(1, 2)",
    "SELECT aiGenerate('x')",
    "SELECT editDistance('a', 'b')",
    "SELECT generateSerialID('x')",
    "SELECT {x:String}",
]


@pytest.mark.parametrize("sql", REFUSED)
def test_what_does_more_than_read_is_refused(filled: Warehouse, sql: str) -> None:
    with pytest.raises(QueryRefused) as refused:
        filled.query(sql)
    assert refused.value.status == 403
    assert not Path("out.csv").exists()


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("", "Empty query"),
        ("selec", "Unknown expression identifier `selec`"),
        ("SELECT nope FROM events", "nope"),
        ("SELECT 1; SELECT 2", "Multi-statements are not allowed"),
        ("SELECT 1; DROP TABLE events", "Multi-statements are not allowed"),
        ("SELECT 1) FORMAT CSV --", "Syntax error"),
        ("SELECT 'open", "not closed"),
        ("SELECT " + "(" * 2_000, "parse depth"),
        ("SELECT 1\x00", "NUL"),
        ("SELECT '" + "x" * 70_000 + "'", "65536 characters"),
        ("SELECT toUInt8('abc')", "Cannot parse string 'abc'"),
        ("SELECT 1 AS a, 2 AS a", "Multiple expressions"),
        ("SELECT sum('a')", "Illegal type"),
    ],
)
def test_wrong_sql_is_explained_without_our_part_of_it(
    filled: Warehouse, sql: str, says: str
) -> None:
    with pytest.raises(QueryInvalid) as refused:
        filled.query(sql)
    assert refused.value.status == 400
    assert says.lower() in refused.value.detail.lower()
    for ours in ("SETTINGS", "readonly", "version 2", "DB::Exception", "Stack", "FORMAT JSON"):
        assert ours not in refused.value.detail


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count() FROM numbers(1000000000000)",
        "SELECT sum(sipHash64(number)) FROM numbers_mt(1000000000000)",
        "SELECT count() FROM numbers(10000000) AS a CROSS JOIN numbers(10000000) AS b",
        "SELECT groupArray(number) FROM numbers(10000000000)",
        "SELECT length(repeat('x', 1000000000))",
        "SELECT arrayFold((a, x) -> concat(a, a), range(40), 'xxxxxxxx')",
        "WITH RECURSIVE x AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM x) SELECT count() FROM x",
        "SELECT randomString(1000000) FROM numbers(1000)",
        "SELECT " + "+".join("1" * 2_000),
    ],
)
def test_a_greedy_query_ends_at_its_limits(filled: Warehouse, sql: str) -> None:
    started = time.monotonic()
    with pytest.raises((QueryLimitReached, QueryInvalid)) as refused:
        filled.query(sql, max_seconds=0.5, max_memory=200_000_000)
    assert refused.value.status in (503, 400)
    assert time.monotonic() - started < 10
    assert filled.query("SELECT 1").rows == ((1,),)


ENDLESS = "SELECT count() FROM numbers(1000000000000)"


def run_to_its_limit(house: Warehouse, seconds: float) -> threading.Thread:
    """A thread that is busy with a query for this long."""

    def run() -> None:
        with pytest.raises(QueryLimitReached):
            house.query(ENDLESS, max_seconds=seconds)

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.3)
    return thread


def test_a_slow_query_does_not_hold_up_the_next_reader(filled: Warehouse) -> None:
    slow = run_to_its_limit(filled, 3)
    assert filled.query("SELECT 1").rows == ((1,),)
    assert slow.is_alive()
    slow.join(30)


def test_when_all_readers_are_busy_the_next_is_told_so(filled: Warehouse) -> None:
    house = Warehouse(Path(filled._folder), readers=1)
    slow = run_to_its_limit(house, 2)
    with pytest.raises(WarehouseBusy) as refused:
        house.query("SELECT 1", max_seconds=0.2)
    assert (refused.value.status, refused.value.retry_after) == (503, 5)
    slow.join(30)
    house.close()
    with pytest.raises(WarehouseUnavailable, match="shutting down"):
        house.query("SELECT 1")


def test_a_failed_query_leaves_nothing_in_the_next_answer(filled: Warehouse) -> None:
    """The embedded engine hands out what a failed query had produced with the next answer."""
    failing = (
        "SELECT intDiv(1, toInt64(900000) - toInt64(number)), repeat('leaked', 3)"
        " FROM numbers(1000000)"
    )
    for _ in range(5):
        with pytest.raises(IngestError):
            filled.query(failing, max_rows=10_000_000)
        assert filled.query("SELECT 1").rows == ((1,),)


# --- restricted projects


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT count() FROM events", ((101,),)),
        ("SELECT count() FROM events WHERE project = 'secret'", ((0,),)),
        ("SELECT count() FROM default.events AS e", ((101,),)),
        ("SELECT count() FROM events AS a JOIN events AS b USING event_id", ((101,),)),
        ("WITH x AS (SELECT * FROM events) SELECT count() FROM x", ((101,),)),
        ("SELECT 1 UNION ALL SELECT count() FROM events", ((1,), (101,))),
        ("SELECT count() FROM events UNION ALL SELECT 1", ((101,), (1,))),
        ("(SELECT project FROM events) EXCEPT DISTINCT (SELECT 'shop')", (("other's \\ one",),)),
        ("SELECT 'secret' IN (SELECT project FROM events)", ((0,),)),
        ("SELECT (SELECT count() FROM events)", ((101,),)),
        ("SELECT countIf(project = 'secret') FROM events", ((0,),)),
        ("SELECT max(name = 'hidden-name') FROM events", ((0,),)),
    ],
)
def test_hidden_projects_are_not_there(
    filled: Warehouse, sql: str, rows: tuple[object, ...]
) -> None:
    result = filled.query(sql, hidden_projects={"secret"})
    assert sorted(result.rows, key=str) == sorted(rows, key=str)


def test_names_of_hidden_projects_are_quoted(filled: Warehouse) -> None:
    hidden = {"other's \\ one", "secret", "' OR 1 = 1 --", "\\'"}
    result = filled.query("SELECT DISTINCT project FROM events", hidden_projects=hidden)
    assert result.rows == (("shop",),)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count() FROM events WHERE toUInt8(name) = 1",
        "SELECT count() FROM events WHERE intDiv(1, project != 'secret') >= 0",
        "SELECT max(toUInt8(name)) FROM events",
        "SELECT nope FROM events",
        "SELECT count() FROM numbers(1000000000000)",
    ],
)
def test_errors_say_nothing_about_hidden_projects(filled: Warehouse, sql: str) -> None:
    try:
        filled.query(sql, hidden_projects={"secret"}, max_seconds=0.5)
    except IngestError as error:
        said = error.detail
    else:
        said = ""
    assert "secret" not in said
    assert "hidden" not in said
    assert "/cart" not in said


def test_a_condition_never_runs_on_hidden_rows(filled: Warehouse) -> None:
    """Whether it fails there would tell what is in them."""
    sql = "SELECT count() FROM events WHERE intDiv(1, project != 'secret') >= 0"
    with pytest.raises(QueryInvalid):
        filled.query(sql)
    assert filled.query(sql, hidden_projects={"secret"}).rows == ((101,),)


# --- errors of the engine


@pytest.mark.parametrize(
    ("message", "kind", "says"),
    [
        (
            "Code: 62. DB::Exception: Syntax error: failed at position 3: In scope SELECT x"
            " SETTINGS readonly = '1'. (SYNTAX_ERROR)",
            QueryInvalid,
            "Syntax error: failed at position 3.",
        ),
        (
            "Code: 1. DB::Exception: open /data/facts/store/x. (NO_FILE)",
            QueryInvalid,
            "open (facts)/store/x.",
        ),
        (
            "Code: 159. DB::Exception: Timeout. (TIMEOUT_EXCEEDED) (version 26.9.2.1)",
            QueryLimitReached,
            "Timeout.",
        ),
        ("Code: 164. DB::Exception: No. (READONLY)", QueryRefused, "No."),
        ("the engine fell over", WarehouseUnavailable, "ask again later"),
        ("Code: 1. DB::Exception:  (ANY)", QueryInvalid, "no reason given."),
    ],
)
def test_messages_are_cleaned(message: str, kind: type[WarehouseError], says: str) -> None:
    error = explain(message, hide="/data/facts", show_values=True)
    assert type(error) is kind
    assert says in error.detail
    assert "SETTINGS" not in error.detail
