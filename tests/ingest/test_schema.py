"""The layout of the facts: from nothing, from format 1, and after being cut short."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import clickhouse_connect
import pytest

from ingest.errors import WarehouseError
from ingest.events import Event
from ingest.fact_columns import COLUMNS
from ingest.schema import keep_for, migrate, migrations
from ingest.warehouse import TABLES, Warehouse

OLD = (Path(__file__).parent / "golden" / "facts-format-1.sql").read_text()
NOW = datetime(2026, 5, 6, 7, 8, 9, 123_456, tzinfo=UTC)
DAY = 24 * 3600 * 10**9

RELEASED = {
    1: "sha256:ffd9275c7c8fc78873d6e1c54cdbba761adc7151c9195d1b2c286a8d290037bc",
    2: "sha256:ea288f3f5f15bdb0e07bd3636046b1206ff0134eb6f4f14e01012d5d7bb4c016",
    3: "sha256:e18265e1755b79c8d6f4d1c69ec12f01855aa3354da86f855d2a64eb0a8f5c66",
}


class Engine:
    """A connection that remembers what it was told, and may be cut off."""

    def __init__(self, folder: Path) -> None:
        self.client = clickhouse_connect.get_client(dsn=f"chdb:///{folder}")
        self.told: list[str] = []
        self.left = 1000

    def command(self, sql: str) -> None:
        self.left -= 1
        if self.left < 0:
            raise ConnectionError("cut off")
        self.told.append(sql)
        self.client.command(sql)

    def rows(self, sql: str) -> Sequence[Sequence[Any]]:
        return self.client.query(sql).result_rows

    def layout(self) -> dict[str, str]:
        found = self.rows(
            "SELECT name, type FROM system.columns WHERE table = 'events' AND database = 'default'"
        )
        return {str(name): str(kind) for name, kind in found}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    found = Engine(tmp_path / "facts")
    yield found
    found.client.close()


def upgrade(engine: Engine) -> str:
    return migrate(engine, lambda: NOW, by_month=False)


def make_old(engine: Engine) -> None:
    for statement in OLD.split(";"):
        if statement.strip():
            engine.client.command(statement)


def test_what_was_released_is_never_changed() -> None:
    assert {each.version: each.digest for each in migrations()} == RELEASED
    for each in migrations():
        text = (files("ingest") / "migrations" / f"{each.version:04}_{each.name}.sql").read_bytes()
        assert each.digest == f"sha256:{hashlib.sha256(text).hexdigest()}"


def test_new_tables_and_those_of_format_1_end_up_alike(engine: Engine, tmp_path: Path) -> None:
    identity = upgrade(engine)
    assert engine.rows("SELECT * FROM warehouse_identity FINAL") == [(identity, 3)]
    noted = engine.rows("SELECT version, name, digest, applied FROM schema_migrations ORDER BY 1")
    moment = NOW.replace(microsecond=123_000, tzinfo=None)
    assert [(*row[:3], row[3].replace(tzinfo=None)) for row in noted] == [
        (each.version, each.name, each.digest, moment) for each in migrations()
    ]
    new = engine.layout()
    assert set(new) == set(COLUMNS)
    engine.told.clear()
    assert upgrade(engine) == identity
    # A start with nothing to do changes nothing.
    assert all(told.startswith("CREATE TABLE IF NOT EXISTS") for told in engine.told)
    for table in (*sorted(TABLES), "warehouse_identity"):
        engine.client.command(f"DROP TABLE {table}")
    engine.client.command("DROP TABLE schema_migrations")
    make_old(engine)
    upgrade(engine)
    assert engine.layout() == new


def test_facts_of_format_1_are_taken_over_without_loss(engine: Engine) -> None:
    make_old(engine)
    before = engine.rows("SELECT * FROM events ORDER BY event_id")
    assert len(before) == 2
    assert upgrade(engine) == "11111111-2222-3333-4444-555555555555"
    names = ", ".join(
        name for name in COLUMNS if name not in ("received", "rules", "trusted", "checksum")
    )
    row = engine.rows(f"SELECT {names} FROM events WHERE event_id = 'a'")
    assert row[0][: len(before[0]) - 1] == before[0][:-1]
    assert engine.rows("SELECT DISTINCT received, rules, trusted, checksum FROM events") == [
        (NOW.replace(tzinfo=None), "", True, 0)
    ]
    assert engine.rows("SELECT id, format FROM warehouse_identity FINAL") == [
        ("11111111-2222-3333-4444-555555555555", 3)
    ]


@pytest.mark.parametrize("old", [False, True])
def test_a_start_cut_short_anywhere_is_repaired_by_the_next(
    engine: Engine, old: bool, tmp_path: Path
) -> None:
    if old:
        make_old(engine)
    for statements in range(20):
        engine.left = statements
        try:
            upgrade(engine)
        except ConnectionError:
            continue
        break
    else:
        pytest.fail("it never ended")
    assert set(engine.layout()) == set(COLUMNS)
    assert len(engine.rows("SELECT version FROM schema_migrations FINAL")) == len(migrations())
    assert engine.rows("SELECT format FROM warehouse_identity FINAL") == [(3,)]


def test_a_newer_format_is_refused_and_left_alone(engine: Engine) -> None:
    upgrade(engine)
    engine.client.command("INSERT INTO schema_migrations VALUES (4, 'later', 'sha256:', now())")
    with pytest.raises(WarehouseError, match="format 4, this version reads up to 3: install"):
        upgrade(engine)
    engine.client.command("DROP TABLE schema_migrations")
    engine.client.command("INSERT INTO warehouse_identity SELECT id, 9 FROM warehouse_identity")
    engine.told.clear()
    with pytest.raises(WarehouseError, match="format 9"):
        upgrade(engine)
    assert engine.rows("SELECT * FROM schema_migrations") == []


def test_other_migrations_than_ours_are_refused(engine: Engine) -> None:
    upgrade(engine)
    engine.client.command("INSERT INTO schema_migrations VALUES (2, 'mine', 'sha256:0', now())")
    with pytest.raises(WarehouseError, match="migration 2 of the facts was not the one"):
        upgrade(engine)


def test_how_long_events_are_kept_changes_only_when_told(engine: Engine) -> None:
    upgrade(engine)
    for days, told in ((0, ""), (3, "MODIFY TTL"), (3, ""), (5, "MODIFY"), (0, "REMOVE"), (0, "")):
        engine.told.clear()
        keep_for(engine, days)
        assert [told in said for said in engine.told] == ([True] if told else [])


def test_events_end_by_their_receipt_and_never_by_the_clock_of_the_sender(
    tmp_path: Path, an_event: Callable[..., Event]
) -> None:
    now = int(datetime.now(UTC).timestamp() * 1e9)
    with_days = Warehouse(tmp_path / "facts", days=10)
    events = [
        an_event(event_id="old", seq=1, time=now),
        an_event(event_id="new", seq=2, time=0),
    ]
    with_days.insert(events, {1: now - 11 * DAY, 2: now - 9 * DAY})
    with with_days._write() as client:
        client.command("OPTIMIZE TABLE events FINAL")
    assert with_days.query("SELECT event_id FROM events").rows == (("new",),)
    with_days.close()


def test_a_month_for_each_partition_and_duplicates_across_them_are_one(
    tmp_path: Path, an_event: Callable[..., Event]
) -> None:
    house = Warehouse(tmp_path / "facts", by_month=True)
    for seq, month in ((1, 1), (2, 2), (3, 2)):
        moment = int(datetime(2026, month, 5, tzinfo=UTC).timestamp() * 1e9)
        house.insert([an_event(seq=seq, service=f"in batch {seq}")], {seq: moment})
    with house._write() as client:
        client.command("OPTIMIZE TABLE events FINAL")
        parts = client.query(
            "SELECT partition, sum(rows) FROM system.parts WHERE active AND table = 'events'"
            " GROUP BY partition ORDER BY partition"
        ).result_rows
    assert parts == [("202601", 1), ("202602", 1)]
    # They are never merged, and nobody who asks sees both.
    assert house.query("SELECT seq, service FROM events").rows == ((3, "in batch 3"),)
    house.close()


def test_of_the_same_batch_what_was_written_last_wins(
    tmp_path: Path, an_event: Callable[..., Event]
) -> None:
    house = Warehouse(tmp_path / "facts", by_month=True)
    house.insert([an_event(seq=4, rule="urn:new batch")], {4: 1})
    for number in range(30):
        house.insert(
            [an_event(seq=3, rule=f"urn:{number}", event_id="other")], {3: 1}, f"v{number}"
        )
        house.insert([an_event(seq=3, rule=f"urn:{number}")], {3: 1}, f"v{number}")
        found = house.query("SELECT rule, rules FROM events ORDER BY event_id").rows
        assert found == (("urn:new batch", ""), (f"urn:{number}", f"v{number}"))
    with house._write() as client:
        client.command("OPTIMIZE TABLE events FINAL")
        assert client.query("SELECT rule FROM events ORDER BY event_id").result_rows == [
            ("urn:new batch",),
            ("urn:29",),
        ]
    house.close()
