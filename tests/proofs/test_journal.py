"""The journal: whole entries or none, and a file that is not as it was written says so."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ontology.terms import sha256
from proofs.chain import Chain
from proofs.checkpoint import SignerKey
from proofs.errors import (
    JournalBroken,
    JournalCorrupt,
    JournalError,
    JournalFull,
    JournalMissing,
    JournalTooNew,
)
from proofs.journal import FORMAT_VERSION, Journal, Running
from proofs.log_keys import LogKeys

if TYPE_CHECKING:
    from tests.proofs.conftest import Gate


def entry(journal: Journal, n: int, *, size: int = 10) -> None:
    data = bytes([n % 256]) * size
    journal.append(
        n, b"leaf %d" % n, b"hash %d" % n, {sha256(data): data}, f"note {n}", Running(n, b"f", b"g")
    )


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.sqlite")


def alter(path: Path, sql: str, *values: object) -> None:
    connection = sqlite3.connect(path)
    with connection:
        assert connection.execute(sql, values).rowcount != 0
    connection.close()


# --- what it keeps


def test_an_empty_journal(journal: Journal) -> None:
    assert journal.head() == -1
    assert journal.running() is None
    assert [*journal.leaves(), *journal.blobs(), *journal.checkpoints()] == []
    assert journal.integrity() == "ok"


def test_an_entry_is_kept_with_all_that_belongs_to_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    for n in range(3):
        entry(journal, n)
    journal.close()
    again = Journal(tmp_path / "journal.sqlite")
    assert again.head() == 2
    assert again.leaf(1) == b"leaf 1"
    assert list(again.leaves(1)) == [(1, b"leaf 1"), (2, b"leaf 2")]
    assert list(again.leaves(0, 1)) == [(0, b"leaf 0")]
    assert again.leaf_hashes(1, 3) == [b"hash 1", b"hash 2"]
    assert again.checkpoint(2) == "note 1"
    assert list(again.checkpoints()) == [(1, "note 0"), (2, "note 1"), (3, "note 2")]
    assert again.running() == Running(2, b"f", b"g")
    assert again.blob(sha256(b"\x01" * 10)) == b"\x01" * 10
    assert dict(again.blobs()) == {sha256(bytes([n]) * 10): bytes([n]) * 10 for n in range(3)}
    again.close()


def test_long_journals_are_read_page_by_page(journal: Journal) -> None:
    connection = journal._connect()
    with connection:
        connection.executemany(
            "INSERT INTO entries VALUES (?, ?, ?)", [(n, b"%d" % n, b"h") for n in range(600)]
        )
        connection.executemany(
            "INSERT INTO checkpoints VALUES (?, ?)", [(n, str(n)) for n in range(600)]
        )
        blobs = {sha256(b"%d" % n): b"%d" % n for n in range(150)}
        connection.executemany("INSERT INTO blobs VALUES (?, ?)", blobs.items())
    assert list(journal.leaves()) == [(n, b"%d" % n) for n in range(600)]
    assert [size for size, _ in journal.checkpoints()] == list(range(600))
    assert dict(journal.blobs()) == blobs


def test_what_is_not_there(journal: Journal) -> None:
    entry(journal, 0)
    with pytest.raises(JournalMissing, match="no entry 5; the newest is 0"):
        journal.leaf(5)
    with pytest.raises(JournalMissing, match="no blob"):
        journal.blob("0" * 64)
    with pytest.raises(JournalMissing, match="no checkpoint of size 2"):
        journal.checkpoint(2)
    with pytest.raises(JournalMissing, match="no checkpoint of size 2"):
        journal.cosign(2, "note")


def test_a_cosignature_replaces_the_note(journal: Journal) -> None:
    entry(journal, 0)
    journal.cosign(1, "note 0 cosigned")
    assert journal.checkpoint(1) == "note 0 cosigned"


def test_what_is_fixed_at_genesis_is_never_changed(journal: Journal) -> None:
    journal.set_meta({"base": "http://one"})
    journal.set_meta({"base": "http://two", "more": "x"})
    assert (journal.meta("base"), journal.meta("more")) == ("http://one", "x")
    assert journal.meta("none") is None


def test_every_thread_may_read(journal: Journal) -> None:
    entry(journal, 0)
    seen: list[bytes] = []
    threads = [threading.Thread(target=lambda: seen.append(journal.leaf(0))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [b"leaf 0"] * 4


def test_it_is_written_through_to_the_disk(journal: Journal) -> None:
    connection = journal._connect()
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


# --- a full disk


def fill(journal: Journal, pages: int = 0) -> None:
    """Lets the file grow by so many pages and no more, as a full disk would."""
    connection = journal._connect()
    (count,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {count + pages}")


def empty(journal: Journal) -> None:
    journal._connect().execute("PRAGMA max_page_count = 1000000")


def test_on_a_full_disk_nothing_is_written_and_later_everything_is(journal: Journal) -> None:
    entry(journal, 0)
    fill(journal)
    with pytest.raises(JournalFull, match="the disk is full"):
        entry(journal, 1, size=100_000)
    assert journal.head() == 0
    assert journal.running() == Running(0, b"f", b"g")
    assert len(list(journal.blobs())) == 1
    empty(journal)
    entry(journal, 1, size=100_000)
    assert journal.head() == 1
    assert journal.integrity() == "ok"


def test_the_gate_survives_a_full_disk(gate: Gate) -> None:
    before = (gate.ledger.head, gate.ledger.state_digest, gate.views())
    fill(gate.journal, 2)
    many = "".join(f'ex:s{n} rdfs:comment "{"long " * 200}" .' for n in range(20))
    with pytest.raises(JournalFull):
        gate.propose(many)
    assert (gate.ledger.head, gate.ledger.state_digest, gate.views()) == before
    assert gate.fatal == []
    assert gate.ledger.stopped is None
    assert gate.asserted() == set()
    empty(gate.journal)
    assert gate.propose(many).state == "applied"
    gate.sound()


# --- what cannot be known ends the process


def test_a_write_of_unknown_outcome_is_fatal(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object, **more: object) -> None:
        raise gate.journal._reason(_io_error())

    monkeypatch.setattr(gate.journal, "append", fails)
    head = gate.ledger.head
    with pytest.raises(JournalBroken, match="known only at the next start"):
        gate.propose(gate.service("web"))
    assert len(gate.fatal) == 1
    assert gate.ledger.head == head


def _io_error() -> sqlite3.Error:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
    return error


def test_a_second_writer_is_noticed(tmp_path: Path) -> None:
    one, other = Journal(tmp_path / "j.sqlite"), Journal(tmp_path / "j.sqlite")
    entry(one, 0)
    with pytest.raises(JournalBroken, match="two writers"):
        entry(other, 0)
    assert other.leaf(0) == b"leaf 0"


# --- files that are not what was written


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    Journal(path).close()
    alter(path, "UPDATE meta SET value = ? WHERE key = 'format'", str(FORMAT_VERSION + 1))
    with pytest.raises(JournalTooNew, match="install the version that wrote it"):
        Journal(path)


@pytest.mark.parametrize("value", ["", "one", "\u00b2"])
def test_a_format_that_is_none(tmp_path: Path, value: str) -> None:
    path = tmp_path / "journal.sqlite"
    Journal(path).close()
    alter(path, "UPDATE meta SET value = ? WHERE key = 'format'", value)
    with pytest.raises(JournalCorrupt, match="not a journal of this product"):
        Journal(path)


def test_another_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE cake (slice TEXT)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(JournalCorrupt, match="nothing was changed"):
        Journal(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"this is a text and no database at all " * 100)
    with pytest.raises(JournalCorrupt, match=r"journal\.sqlite is damaged"):
        Journal(path)


def test_damaged_pages_are_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    journal = Journal(path)
    for n in range(50):
        entry(journal, n, size=2000)
    journal.close()
    data = bytearray(path.read_bytes())
    data[4096 : len(data) - 4096] = b"\xff" * (len(data) - 8192)
    path.write_bytes(data)
    with pytest.raises(JournalError, match=r"journal\.sqlite"):
        list(Journal(path).blobs())


def test_a_blob_that_was_changed_is_never_handed_out(journal: Journal) -> None:
    entry(journal, 0)
    digest = sha256(b"\x00" * 10)
    alter(journal.path, "UPDATE blobs SET bytes = ? WHERE digest = ?", b"forged", digest)
    with pytest.raises(JournalCorrupt, match=f"blob {digest}"):
        journal.blob(digest)


def test_a_start_that_was_cut_off_leaves_an_empty_file_or_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.touch()
    assert Journal(path).head() == -1


# --- the end of the journal is checked at each start

CUT = {
    "the newest entry": "DELETE FROM entries WHERE n = 2",
    "the bytes of it": "UPDATE entries SET leaf = leaf || x'20' WHERE n = 2",
    "an older leaf in its place": (
        "UPDATE entries SET leaf = (SELECT leaf FROM entries WHERE n = 1) WHERE n = 2"
    ),
    "its leaf hash": "UPDATE entries SET leaf_hash = zeroblob(32) WHERE n = 2",
    "its checkpoint": "DELETE FROM checkpoints WHERE size = 3",
    "another checkpoint in its place": (
        "UPDATE checkpoints SET note = (SELECT note FROM checkpoints WHERE size = 2) WHERE size = 3"
    ),
    "a checkpoint that is none": "UPDATE checkpoints SET note = 'gone' WHERE size = 3",
    "the running hashes": "DELETE FROM running",
    "the frontier": "UPDATE running SET frontier = x'00'",
    "the size of the frontier": "UPDATE running SET frontier = zeroblob(8)",
    "the graph state": "UPDATE running SET graph_state = zeroblob(2048)",
    "a graph state that is none": "UPDATE running SET graph_state = x'00'",
    "the number of the running hashes": "UPDATE running SET n = 1",
}


@pytest.mark.parametrize("sql", CUT.values(), ids=CUT)
def test_a_journal_with_another_end_does_not_go_on(
    founded: Path, tmp_path: Path, signer: SignerKey, sql: str
) -> None:
    path = tmp_path / "journal.sqlite"
    shutil.copy(founded / path.name, path)
    assert Chain(Journal(path), signer, LogKeys(signer.verifier), pytest.fail).head == 2
    alter(path, sql)
    with pytest.raises(JournalError, match=r"entry 2 of|entry 1 of|running hashes"):
        Chain(Journal(path), signer, LogKeys(signer.verifier), pytest.fail)
