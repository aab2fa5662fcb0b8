"""The inbox: durable before it answers, whatever the disk does."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest.errors import (
    EvidenceCorrupt,
    EvidenceErased,
    InboxBehind,
    InboxClosed,
    InboxError,
    InboxFull,
    InboxUnusable,
)
from ingest.evidence_store import Receipt
from ingest.inbox import Inbox
from ingest.inbox_schema import FORMAT_VERSION
from ingest.sender import Sender

TYPE = "application/x-protobuf"


def put(inbox: Inbox, payload: bytes = b"payload", project: str = "shop") -> Receipt:
    return inbox.submit_blocking(Sender(project), "otel.span", TYPE, payload)


def connecting(
    tune: Callable[[sqlite3.Connection], object],
) -> Callable[[Path], sqlite3.Connection]:
    """Connections to the inbox's file that were tuned before use."""

    def connect(path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        tune(connection)
        return connection

    return connect


def test_a_batch_is_kept_as_it_came(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.sqlite", clock=lambda: 42)
    receipt = put(inbox, b"one")
    assert receipt.seq == 1
    inbox.close()

    inbox = Inbox(tmp_path / "inbox.sqlite")
    (batch,) = inbox.pending(0, 10)
    assert inbox.evidence.find(receipt.digest) == batch
    assert (batch.seq, batch.digest, batch.received_at) == (1, receipt.digest, 42)
    assert (batch.project, batch.source, batch.content_type) == ("shop", "otel.span", TYPE)
    assert (batch.size, batch.payload_sha256) == (3, hashlib.sha256(b"one").hexdigest())
    assert inbox.payload(1) == b"one"
    assert inbox.evidence.find("sha256:" + "0" * 64) is None
    with pytest.raises(InboxError, match="no batch 7"):
        inbox.payload(7)
    inbox.close()


def test_what_is_stored_is_encrypted(inbox: Inbox) -> None:
    put(inbox, b"very secret words" * 10)
    stored = b"".join(path.read_bytes() for path in inbox.file.path.parent.glob("inbox.sqlite*"))
    assert b"very secret words" not in stored


def test_commits_are_fsynced(inbox: Inbox) -> None:
    assert inbox.file.row("PRAGMA journal_mode") == ("wal",)
    assert inbox.file.row("PRAGMA synchronous") == (2,)


def test_many_at_once_share_commits_and_all_are_there(inbox: Inbox) -> None:
    async def clients() -> list[Receipt]:
        return await asyncio.gather(
            *(inbox.submit(Sender("shop"), "otel.span", TYPE, b"%d" % n) for n in range(200))
        )

    receipts = asyncio.run(clients())
    assert sorted(receipt.seq for receipt in receipts) == list(range(1, 201))
    assert {inbox.payload(receipt.seq) for receipt in receipts} == {b"%d" % n for n in range(200)}
    for number, receipt in enumerate(receipts):
        assert inbox.payload(receipt.seq) == b"%d" % number


def test_numbers_are_never_used_again(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.sqlite")
    put(inbox)
    inbox.file.submit(
        lambda db: (db.execute("DELETE FROM batch_key"), db.execute("DELETE FROM batch"))
    ).result()
    assert put(inbox).seq == 2
    inbox.close()


def test_the_cursor_survives(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.sqlite")
    for _ in range(3):
        put(inbox)
    inbox.advance(2)
    inbox.set_aside(2, "why")
    assert (inbox.counts().pending, inbox.counts().pending_bytes) == (1, 7)
    inbox.close()

    inbox = Inbox(tmp_path / "inbox.sqlite")
    assert inbox.cursor == 2
    counts = inbox.counts()
    assert (counts.batches, counts.pending, counts.pending_bytes, counts.set_aside) == (3, 1, 7, 1)
    assert inbox.aside() == ((2, "why"),)
    inbox.advance(0)
    assert (inbox.counts().pending, inbox.counts().pending_bytes) == (3, 21)
    assert inbox.aside() == ()
    inbox.close()


def test_erasing_a_payload_keeps_its_commitment(inbox: Inbox) -> None:
    receipt, other = put(inbox, b"personal"), put(inbox, b"other")
    assert inbox.erasures.erase((receipt.digest,), None)
    assert not inbox.erasures.erase((receipt.digest,), None)
    with pytest.raises(EvidenceErased, match="its commitment stays valid"):
        inbox.payload(receipt.seq)
    evidence = inbox.evidence.find(receipt.digest)
    assert evidence is not None
    assert evidence.payload_sha256 is None
    assert inbox.payload(other.seq) == b"other"


def test_an_erased_key_is_nowhere_in_the_files(inbox: Inbox) -> None:
    receipt = put(inbox)
    (key,) = inbox.file.row("SELECT key FROM batch_key")
    inbox.erasures.erase((receipt.digest,), None)
    for path in inbox.file.path.parent.glob("inbox.sqlite*"):
        assert key not in path.read_bytes()


def test_a_changed_payload_is_noticed(inbox: Inbox) -> None:
    put(inbox)
    inbox.file.submit(
        lambda db: db.execute("UPDATE batch SET ciphertext = zeroblob(length(ciphertext))")
    ).result()
    with pytest.raises(EvidenceCorrupt, match="does not match its commitment"):
        inbox.payload(1)


def test_a_long_queue_is_refused_until_it_is_shorter(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.sqlite", max_backlog=100)
    put(inbox, bytes(500))
    with pytest.raises(InboxBehind) as refused:
        put(inbox, b"x")
    assert refused.value.status == 503
    assert refused.value.retry_after
    assert inbox.last_seq == 1
    inbox.advance(1)
    put(inbox, bytes(60))
    with pytest.raises(InboxBehind):
        put(inbox, bytes(60))
    inbox.close()


def test_a_full_disk_refuses_and_recovers(tmp_path: Path) -> None:
    limit = {"pages": 30}

    def tune(connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA max_page_count = {limit['pages']}")

    inbox = Inbox(tmp_path / "inbox.sqlite", connect=connecting(tune), fatal=pytest.fail)
    put(inbox, b"kept")
    incompressible = hashlib.shake_128(b"x").digest(500_000)
    for _ in range(3):
        with pytest.raises(InboxFull, match="nothing was stored") as refused:
            put(inbox, incompressible)
        assert (refused.value.status, refused.value.retry_after) == (503, 5)
    assert inbox.counts().batches == 1
    assert inbox.counts().pending_bytes == 4

    # Room again: the same writer goes on.
    inbox.file.write(lambda db: db.execute("PRAGMA max_page_count = 100000"))
    put(inbox, incompressible)
    assert inbox.payload(inbox.last_seq) == incompressible
    assert inbox.payload(1) == b"kept"
    inbox.close()


@pytest.mark.parametrize(
    "code", [sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC, sqlite3.SQLITE_IOERR]
)
def test_a_failed_fsync_ends_the_process_and_is_never_a_success(tmp_path: Path, code: int) -> None:
    """SQLite's errors are made up here: no disk at hand fails on demand."""
    armed = threading.Event()

    class Failing(sqlite3.Connection):
        def execute(self, sql: str, *rest: object) -> sqlite3.Cursor:
            if sql == "COMMIT" and armed.is_set():
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = code
                raise error
            return super().execute(sql, *rest)  # type: ignore[arg-type]

    def connect(path: Path) -> sqlite3.Connection:
        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Failing)

    reasons: list[str] = []
    inbox = Inbox(tmp_path / "inbox.sqlite", connect=connect, fatal=reasons.append)
    put(inbox)
    armed.set()
    with pytest.raises(InboxClosed):
        put(inbox)
    assert len(reasons) == 1
    assert "disk I/O error" in reasons[0]
    armed.clear()
    # Whoever comes while the process ends is not told otherwise.
    with pytest.raises(InboxClosed):
        put(inbox)
    inbox.close()


def test_nothing_is_taken_in_after_the_end(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.sqlite")
    inbox.close()
    with pytest.raises(InboxClosed):
        put(inbox)


def test_waiting_ends_with_an_arrival(inbox: Inbox) -> None:
    assert not inbox.wait(0, 0.01)
    arrived: list[bool] = []
    waiter = threading.Thread(target=lambda: arrived.append(inbox.wait(0, 30)))
    waiter.start()
    put(inbox)
    waiter.join(30)
    assert arrived == [True]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"this is no database, this is a text of some length" * 100, "damaged or not an inbox"),
        (b"SQLite format 3\x00" + b"\xff" * 5_000, "damaged or not an inbox"),
    ],
)
def test_a_file_that_is_no_inbox_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "inbox.sqlite"
    path.write_bytes(content)
    with pytest.raises(InboxUnusable, match=words) as refused:
        Inbox(path)
    assert "inbox.sqlite" in refused.value.detail
    assert "restore it from a backup" in refused.value.detail
    assert path.read_bytes() == content


def test_a_damaged_file_is_noticed_at_start(tmp_path: Path) -> None:
    path = tmp_path / "inbox.sqlite"
    inbox = Inbox(path)
    for number in range(20):
        put(inbox, hashlib.shake_128(b"%d" % number).digest(3_000))
    inbox.close()
    content = bytearray(path.read_bytes())
    content[8192:12288] = b"\x5a" * 4096
    path.write_bytes(content)
    with pytest.raises(InboxUnusable, match=r"inbox\.sqlite is damaged"):
        Inbox(path)


def test_another_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "inbox.sqlite"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE t (a)")
    other.commit()
    other.close()
    with pytest.raises(InboxUnusable, match="not an inbox"):
        Inbox(path)


def test_the_key_and_the_trust_of_a_sender_are_kept(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.sqlite")
    inbox.submit_blocking(Sender("shop", "k1").from_page(), "otel.span", TYPE, b"one")
    put(inbox, b"two")
    found = [(batch.key, batch.trusted) for batch in inbox.pending(0, 10)]
    assert found == [("k1", False), ("", True)]
    inbox.close()


def test_an_inbox_of_the_first_format_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "inbox.sqlite"
    inbox = Inbox(path)
    receipt = put(inbox, b"one")
    inbox.close()
    older = sqlite3.connect(path)
    older.executescript(
        "ALTER TABLE batch DROP COLUMN sender_key; ALTER TABLE batch DROP COLUMN trusted;"
        " PRAGMA user_version = 1;"
    )
    older.close()
    for _ in range(2):
        inbox = Inbox(path)
        (batch,) = inbox.pending(0, 10)
        assert (batch.digest, batch.key, batch.trusted) == (receipt.digest, "", True)
        assert inbox.payload(1) == b"one"
        inbox.close()


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "inbox.sqlite"
    Inbox(path).close()
    newer = sqlite3.connect(path)
    newer.execute(f"PRAGMA user_version = {FORMAT_VERSION + 1}")
    newer.close()
    with pytest.raises(InboxUnusable, match=f"has format {FORMAT_VERSION + 1}.*newer one"):
        Inbox(path)
