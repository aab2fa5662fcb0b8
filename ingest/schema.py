"""Brings the tables of the facts to the layout that this version reads and writes.

Invariant: migrations run in the order of their numbers, each is noted with its digest once all of
its statements ran, and each statement may run again: a start that was cut short is repaired by the
next one. Facts that a newer version wrote are refused before anything is touched, and so are facts
whose migrations were others than ours. A migration that was ever released is never changed.
Source: https://clickhouse.com/docs/sql-reference/statements/alter
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any, Final, Protocol

from ingest.errors import WarehouseError

_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_BY_MONTH: Final = "PARTITION BY toYYYYMM(received)"
_DURABLE: Final = "SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"
_LEDGER: Final = (
    "CREATE TABLE IF NOT EXISTS warehouse_identity ("
    " id String COMMENT 'made when the tables were, a new one means that the facts are to be"
    f" rebuilt', format UInt32) ENGINE = ReplacingMergeTree ORDER BY id {_DURABLE}",
    "CREATE TABLE IF NOT EXISTS schema_migrations ("
    " version UInt32, name String, digest String COMMENT 'sha256:... of the migration as shipped',"
    " applied DateTime64(3, 'UTC')) ENGINE = ReplacingMergeTree ORDER BY version"
    f" {_DURABLE}",
)
_DAYS = re.compile(r"\bTTL toDateTime\(received\) \+ toIntervalDay\((\d+)\)")


class Engine(Protocol):
    """What runs a statement, and what gives the rows of a query."""

    def command(self, sql: str) -> None: ...

    def rows(self, sql: str) -> Sequence[Sequence[Any]]: ...


@dataclass(frozen=True)
class Migration:
    """One numbered step; ``digest`` is of its text as shipped."""

    version: int
    name: str
    text: str

    @property
    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.text.encode()).hexdigest()}"

    def statements(self, values: dict[str, str]) -> tuple[str, ...]:
        """The statements, in order, with the values filled in."""
        script = re.sub(r"--[^\n]*", "", self.text)
        for name, value in values.items():
            script = script.replace("{" + name + "}", value)
        return tuple(part.strip() for part in script.split(";") if part.strip())


@cache
def migrations() -> tuple[Migration, ...]:
    """All steps that this version knows, in order."""
    found = []
    for file in (files("ingest") / "migrations").iterdir():
        named = _NAME.fullmatch(file.name)
        if named:
            found.append(Migration(int(named[1]), named[2], file.read_text("utf-8")))
    return tuple(sorted(found, key=lambda migration: migration.version))


def migrate(engine: Engine, now: Callable[[], datetime], *, by_month: bool) -> str:
    """Apply what is missing; the identity of the tables, made when they were.

    ``by_month`` partitions the events by the month of their receipt, where the table is made now.
    Raises :class:`WarehouseError` for facts of a newer version or with other migrations.
    """
    for statement in _LEDGER:
        engine.command(statement)
    known = migrations()
    latest = known[-1].version
    identities = engine.rows("SELECT id, format FROM warehouse_identity FINAL")
    noted = {
        int(version): str(digest)
        for version, digest in engine.rows("SELECT version, digest FROM schema_migrations FINAL")
    }
    _check(latest, int(identities[0][1]) if identities else 0, noted)
    for migration in known:
        if migration.version not in noted:
            moment = now().strftime("%Y-%m-%d %H:%M:%S.%f")
            values = {"partition": _BY_MONTH if by_month else "", "now": moment}
            for statement in migration.statements(values):
                engine.command(statement)
            # Spelled out, because the client's insert imports pandas: the first batch pays for it.
            engine.command(
                "INSERT INTO schema_migrations VALUES"
                f" ({migration.version}, '{migration.name}', '{migration.digest}', '{moment[:-3]}')"
            )
    identity = str(identities[0][0]) if identities else str(uuid.uuid4())
    if not identities or int(identities[0][1]) != latest:
        # Versions that know no migrations look at this number alone.
        engine.command(f"INSERT INTO warehouse_identity VALUES ('{identity}', {latest})")
    return identity


def keep_for(engine: Engine, days: int) -> None:
    """Let events be dropped so many days after their receipt, 0 for never.

    A change sets the engine to work on all that is stored, so only a change is made.
    """
    rows = engine.rows(
        "SELECT engine_full FROM system.tables"
        " WHERE database = currentDatabase() AND name = 'events'"
    )
    found = _DAYS.search(str(rows[0][0]))
    current = int(found[1]) if found else 0
    if days and days != current:
        engine.command(
            f"ALTER TABLE events MODIFY TTL toDateTime(received) + toIntervalDay({days})"
        )
    elif current and not days:
        engine.command("ALTER TABLE events REMOVE TTL")


def _check(latest: int, form: int, noted: dict[int, str]) -> None:
    newest = max(form, *noted, 0)
    if newest > latest:
        raise WarehouseError(
            f"the facts have format {newest}, this version reads up to {latest}: install the"
            " version that wrote them, or a newer one"
        )
    for migration in migrations():
        if noted.get(migration.version, migration.digest) != migration.digest:
            raise WarehouseError(
                f"migration {migration.version} of the facts was not the one of this version:"
                " install the version that wrote them; or move the facts away, then they are"
                " built again from the inbox"
            )
