"""The facts, written: a real engine on a temporary folder."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingest.errors import WarehouseError, WarehouseUnavailable
from ingest.events import LATEST_TIME, Event
from ingest.fact_columns import COLUMNS, from_columns
from ingest.warehouse import TABLES, Warehouse

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


def test_an_event_comes_back_as_it_was(warehouse: Warehouse) -> None:
    warehouse.insert([EVENT], {EVENT.seq: EVENT.time + 1}, "sha256:rules")
    result = warehouse.query("SELECT * FROM events")
    row = dict(zip(result.columns, result.rows[0], strict=True))
    assert row.pop("checksum") > 0
    assert row.pop("rules") == "sha256:rules"
    assert row.pop("received") == "2023-11-14T22:13:20.000000002Z"
    assert row.pop("class") == EVENT.event_class
    assert row.pop("time") == "2023-11-14T22:13:20.000000001Z"
    assert row == {name: getattr(EVENT, name) for name in row}
    assert not result.truncated


def test_extreme_values_are_held(warehouse: Warehouse) -> None:
    strange = "\ufffd'\"\\`\n\t\u2028\U0001f600 {}[]" + "x" * 100_000
    events = [
        EVENT._replace(event_id="early", time=0, duration_ns=0, attributes={}),
        EVENT._replace(event_id="late", time=LATEST_TIME, duration_ns=2**64 - 1),
        EVENT._replace(event_id=strange, name=strange, attributes={strange: strange}),
    ]
    warehouse.insert(events)
    result = warehouse.query("SELECT event_id, time, duration_ns, name, attributes FROM events")
    rows = {row[0]: row[1:] for row in result.rows}
    assert rows["early"][:2] == ("1970-01-01T00:00:00.000000000Z", 0)
    assert rows["late"][:2] == ("2262-04-11T23:47:16.854775807Z", 2**64 - 1)
    assert rows[strange][2:] == (strange, {strange: strange})


def test_events_are_read_back_as_they_were_written(warehouse: Warehouse) -> None:
    strange = EVENT._replace(event_id="1'\\", attributes={}, duration_ns=2**64 - 1, trusted=False)
    strange = strange._replace(time=LATEST_TIME)
    written = [EVENT, EVENT._replace(event_id="0a"), strange, EVENT._replace(project="z")]
    warehouse.insert(written, {EVENT.seq: 7})
    for size in (1, 2, 3, 10):
        pages = list(map(from_columns, warehouse.scan("seq > 0", COLUMNS, size)))
        assert [event for events, _ in pages for event in events] == written
        assert {moment for _, received in pages for moment in received} == {7}
    assert list(warehouse.scan("event_id = 'none'", COLUMNS, 1)) == []


def test_equal_keys_count_once_and_the_newest_batch_wins(warehouse: Warehouse) -> None:
    warehouse.insert([EVENT, EVENT._replace(event_id="1")])
    warehouse.insert([EVENT._replace(seq=9), EVENT._replace(project="other")])
    warehouse.insert([EVENT])
    assert warehouse.counts() == {"events": 3, "unclassified": 0}
    result = warehouse.query("SELECT seq FROM events WHERE project = 'shop' AND event_id = '0'")
    assert result.rows == ((9,),)


def test_equal_keys_of_one_insert_count_once(warehouse: Warehouse) -> None:
    many = [EVENT._replace(event_id=str(number % 9_000), seq=1) for number in range(20_000)]
    newer = EVENT._replace(event_id="7", seq=3, name="newer")
    warehouse.insert([newer, *many, EVENT._replace(event_id="8", seq=1, name="last")])
    for _ in range(2):
        assert warehouse.counts()["events"] == 9_000
        named = "SELECT event_id, name FROM events WHERE name IN ('newer', 'last') ORDER BY ALL"
        assert warehouse.query(named).rows == (("7", "newer"), ("8", "last"))
        with warehouse._write() as client:
            client.command("OPTIMIZE TABLE events FINAL")


def test_facts_survive_closing(tmp_path: Path) -> None:
    first = Warehouse(tmp_path / "facts")
    first.insert([EVENT])
    first.close()
    second = Warehouse(tmp_path / "facts")
    assert second.identity == first.identity
    assert second.counts()["events"] == 1
    second.close()
    third = Warehouse(tmp_path / "elsewhere")
    assert third.identity != first.identity
    third.close()


def test_inserts_are_fsynced(warehouse: Warehouse) -> None:
    with warehouse._write() as client:
        for table in sorted(TABLES):
            statement = str(client.command(f"SHOW CREATE TABLE {table}"))
            assert "fsync_after_insert = 1" in statement
            assert "fsync_part_directory = 1" in statement


def test_rows_of_other_tables(warehouse: Warehouse) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
    warehouse.insert_rows(
        "proof_entries",
        ["index", "kind", "time", "graphs"],
        [(0, "genesis", moment, ["urn:g"]), (1, "applied", moment, [])],
    )
    warehouse.insert_rows("proof_entries", ["index", "kind", "time"], [(1, "applied", moment)])
    warehouse.insert_rows("proof_entries", ["index"], [])
    result = warehouse.query("SELECT index, time, graphs FROM proof_entries ORDER BY index")
    assert result.rows == (
        (0, "2026-01-02T03:04:05.678Z", ["urn:g"]),
        (1, "2026-01-02T03:04:05.678Z", []),
    )
    with pytest.raises(WarehouseError, match="no table"):
        warehouse.insert_rows("system.tables", ["a"], [(1,)])


def test_a_failed_insert_is_an_error_of_ours_and_heals(warehouse: Warehouse) -> None:
    with pytest.raises(WarehouseUnavailable, match="kept in the inbox"):
        warehouse.insert_rows("proof_entries", ["nonsense"], [(1,)])
    warehouse.insert([EVENT])
    assert warehouse.counts()["events"] == 1


def test_a_folder_that_is_no_warehouse_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "facts"
    blocked.write_text("a file")
    with pytest.raises((WarehouseUnavailable, FileExistsError)):
        Warehouse(blocked)
