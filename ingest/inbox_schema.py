"""The tables of an inbox's file, and how one of an older version becomes one of this version.

Invariant: a file of any earlier version opens, whole or not at all; a foreign, damaged or newer one
is named and left as it is. A table that came later than the first is made wherever it is missing:
the format's number stays, an older version still reads the file and leaves that table alone.
Source: https://www.sqlite.org/pragma.html#pragma_application_id
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from ingest.errors import InboxUnusable

FORMAT_VERSION: Final = 2
CHECKED_AT_START: Final = 64 * 1024 * 1024
"""Files up to so many bytes are looked through at every start; larger ones when they are read."""

_APPLICATION_ID: Final = 0x666F6962  # "foib"

_FIRST = """
CREATE TABLE batch (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, digest TEXT NOT NULL UNIQUE, project TEXT NOT NULL,
    source TEXT NOT NULL, content_type TEXT NOT NULL, size INTEGER NOT NULL,
    received_at INTEGER NOT NULL, ciphertext BLOB NOT NULL,
    sender_key TEXT NOT NULL DEFAULT '', trusted INTEGER NOT NULL DEFAULT 1);
CREATE TABLE batch_key (
    seq INTEGER PRIMARY KEY REFERENCES batch, key BLOB NOT NULL, salt BLOB NOT NULL,
    payload_sha256 TEXT NOT NULL);
CREATE TABLE set_aside (seq INTEGER PRIMARY KEY REFERENCES batch, reason TEXT NOT NULL);
CREATE TABLE state (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
# What leads from each older format to the next one.
_UPGRADES = {
    1: (
        "ALTER TABLE batch ADD COLUMN sender_key TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE batch ADD COLUMN trusted INTEGER NOT NULL DEFAULT 1",
    ),
}
# Of batch_facts what isn't noted isn't compared; an entry of ``erased`` is null where nothing was
# to be kept. The outbox goes with the batch that its requests came with.
_LATER = """
CREATE TABLE IF NOT EXISTS batch_facts (
    seq INTEGER PRIMARY KEY, count INTEGER NOT NULL, digest TEXT NOT NULL, keys BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS erased (seq INTEGER PRIMARY KEY REFERENCES batch, entry INTEGER);
CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, batch INTEGER, project TEXT NOT NULL, kind TEXT NOT NULL,
    digest TEXT NOT NULL, size INTEGER NOT NULL, ciphertext BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS outbox_lane ON outbox (project, kind, id);
CREATE TABLE IF NOT EXISTS outbox_key (
    id INTEGER PRIMARY KEY REFERENCES outbox, key BLOB NOT NULL, salt BLOB NOT NULL,
    payload_sha256 TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS outbox_time (id INTEGER PRIMARY KEY, put_at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS outbox_tally (
    project TEXT NOT NULL, kind TEXT NOT NULL, requests INTEGER NOT NULL, bytes INTEGER NOT NULL,
    delivered INTEGER NOT NULL DEFAULT 0, refused INTEGER NOT NULL DEFAULT 0,
    dropped INTEGER NOT NULL DEFAULT 0, given_up INTEGER NOT NULL DEFAULT 0,
    last_refusal TEXT NOT NULL DEFAULT '', PRIMARY KEY (project, kind)) WITHOUT ROWID;
"""
_IS_COUNTED = "SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND name = 'outbox_left'"
# Whatever adds or removes a request, an older version included, keeps the count of its lane.
_COUNTED = """
CREATE TRIGGER outbox_entered AFTER INSERT ON outbox BEGIN
    INSERT INTO outbox_tally (project, kind, requests, bytes)
    VALUES (NEW.project, NEW.kind, 1, NEW.size)
    ON CONFLICT (project, kind) DO UPDATE SET requests = requests + 1, bytes = bytes + NEW.size;
END;
CREATE TRIGGER outbox_left AFTER DELETE ON outbox BEGIN
    UPDATE outbox_tally SET requests = requests - 1, bytes = bytes - OLD.size
    WHERE project = OLD.project AND kind = OLD.kind;
    DELETE FROM outbox_time WHERE id = OLD.id;
END;
INSERT INTO outbox_tally (project, kind, requests, bytes)
    SELECT project, kind, count(*), sum(size) FROM outbox GROUP BY project, kind;
"""


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables of a new file, or bring those of an older one up to date.

    Raises :class:`InboxUnusable` for a foreign or newer file, :class:`sqlite3.DatabaseError` for a
    damaged one.
    """
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not tables:
        connection.executescript(
            f"BEGIN IMMEDIATE; PRAGMA application_id = {_APPLICATION_ID};"
            f" PRAGMA user_version = {FORMAT_VERSION}; {_FIRST} {_LATER} {_COUNTED} COMMIT;"
        )
        return
    if application_id != _APPLICATION_ID:
        raise InboxUnusable(f"{path.name} is not an inbox; move it away or name another folder")
    if version > FORMAT_VERSION:
        raise InboxUnusable(
            f"{path.name} has format {version}, this version reads up to {FORMAT_VERSION}: install"
            " the version that wrote it, or a newer one"
        )
    for older in range(version, FORMAT_VERSION):
        _upgrade(connection, older)
    connection.executescript(_LATER)
    if not connection.execute(_IS_COUNTED).fetchone():
        connection.executescript(f"BEGIN IMMEDIATE; {_COUNTED} COMMIT;")
    if path.stat().st_size <= CHECKED_AT_START:
        (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if finding != "ok":
            raise sqlite3.DatabaseError(finding)


def _upgrade(connection: sqlite3.Connection, version: int) -> None:
    """Lead a file of this format to the next one, whole or not at all."""
    statements = "; ".join(_UPGRADES[version])
    connection.executescript(
        f"BEGIN IMMEDIATE; {statements}; PRAGMA user_version = {version + 1}; COMMIT;"
    )
