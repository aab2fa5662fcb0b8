"""The published log follows the journal, and an old journal does not fork it."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from proofs.checkpoint import SignerKey
from proofs.errors import JournalBroken, LogForked
from proofs.journal import Journal
from proofs.log_keys import LogKeys
from proofs.publish import Publisher, refuse_fork
from proofs.tiles import read_checkpoint, verify_folder

if TYPE_CHECKING:
    from tests.proofs.conftest import Gate


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def size_of(gate: Gate, folder: Path) -> int:
    note = read_checkpoint(folder)
    assert note is not None
    return gate.keys.open_checkpoint(note).size


def test_what_is_there_is_published_and_then_what_comes(gate: Gate) -> None:
    log = gate.folder / "log"
    told: list[int] = []
    publisher = Publisher(gate.journal, [log], told.append)
    publisher.start()
    gate.ledger.on_commit(publisher.notify)
    assert size_of(gate, log) == publisher.size == 3
    gate.propose(gate.service("web"))
    assert publisher.wait_for(4, 30)
    assert size_of(gate, log) == 4
    publisher.stop()
    assert told == sorted(told)
    assert verify_folder(log, gate.journal.leaf, 4, gate.journal.checkpoint(4).encode()) == []


def test_a_burst_is_published_by_the_time_it_stops(gate: Gate) -> None:
    log = gate.folder / "log"
    publisher = Publisher(gate.journal, [log], lambda size: None)
    publisher.start()
    gate.ledger.on_commit(publisher.notify)
    for number in range(5):
        gate.propose(f"ex:s{number} ex:p 1 .")
    publisher.stop()
    assert size_of(gate, log) == 8
    assert not publisher.wait_for(9, 0.01)


def test_a_folder_that_was_deleted_comes_back_byte_for_byte(gate: Gate) -> None:
    gate.propose(gate.service("web"))
    before = files(gate.publish())
    shutil.rmtree(gate.folder / "log")
    assert files(gate.publish()) == before


def test_an_empty_journal_publishes_nothing(tmp_path: Path) -> None:
    told: list[int] = []
    publisher = Publisher(Journal(tmp_path / "journal.sqlite"), [tmp_path / "log"], told.append)
    publisher.start()
    publisher.stop()
    assert told == []
    assert not (tmp_path / "log").exists()


def test_a_mirror_that_fails_holds_nothing_up_and_is_told(gate: Gate) -> None:
    log, mirror = gate.folder / "log", gate.folder / "mirror"
    mirror.write_text("a file where a folder should be")
    publisher = Publisher(gate.journal, [log, mirror], lambda size: None)
    publisher.start()
    assert publisher.wait_for(3, 10)
    assert set(publisher.problems) == {str(mirror)}
    mirror.unlink()
    publisher.stop()
    assert publisher.problems == {}
    assert files(mirror) == files(log)


def test_a_log_folder_that_fails_is_told_and_not_called_published(gate: Gate) -> None:
    log = gate.publish()
    gate.propose(gate.service("web"))
    bundle = next(path for path in log.rglob("*") if "entries" in path.parts and path.is_file())
    bundle.write_bytes(b"forged")
    publisher = Publisher(gate.journal, [log], lambda size: None)
    publisher.start()
    assert publisher.size == 0
    assert list(publisher.problems) == [str(log)]
    publisher.stop()


def test_a_journal_that_cannot_be_read_does_not_end_the_thread(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = gate.folder / "log"
    publisher = Publisher(gate.journal, [log], lambda size: None)
    publisher.start()
    failed = threading.Event()
    checkpoint = gate.journal.checkpoint

    def fails_once(size: int) -> str:
        if not failed.is_set():
            failed.set()
            raise JournalBroken("disk I/O error")
        return checkpoint(size)

    gate.propose(gate.service("web"))
    monkeypatch.setattr(gate.journal, "checkpoint", fails_once)
    publisher.notify(3)
    assert failed.wait(10)
    publisher.notify(3)
    assert publisher.wait_for(4, 10)
    assert publisher.problems == {}
    publisher.stop()


# --- no second history


@pytest.fixture
def older(gate: Gate, tmp_path: Path) -> Journal:
    """The journal as it was before the newest published entry."""
    shutil.copy(gate.journal.path, tmp_path / "older.sqlite")
    gate.propose(gate.service("web"))
    return Journal(tmp_path / "older.sqlite")


def test_the_same_journal_or_a_newer_one_goes_on(gate: Gate) -> None:
    log = gate.publish()
    refuse_fork(gate.journal, [log], gate.keys)
    gate.propose(gate.service("web"))
    refuse_fork(gate.journal, [log, gate.folder / "nowhere"], gate.keys)


def test_an_older_journal_is_refused_by_log_and_mirror(gate: Gate, older: Journal) -> None:
    log = gate.publish()
    for folders in ([log], [gate.folder / "nowhere", log]):
        with pytest.raises(LogForked, match="shows 4 entries, the journal has 3"):
            refuse_fork(older, folders, gate.keys)


def test_another_history_of_the_same_length_is_refused(gate: Gate, older: Journal) -> None:
    log = gate.publish()
    path = older.path
    older.close()
    gate.close()
    shutil.copy(path, gate.folder / "journal.sqlite")
    shutil.rmtree(gate.folder / "graph")
    gate.open()
    gate.propose(gate.service("another"))
    with pytest.raises(LogForked, match="disagree about the first 4 entries"):
        refuse_fork(gate.journal, [log], gate.keys)
    gate.propose(gate.service("more"))
    with pytest.raises(LogForked, match="disagree about the first 4 entries"):
        refuse_fork(gate.journal, [log], gate.keys)


def test_a_lost_journal_is_not_begun_again(gate: Gate, tmp_path: Path) -> None:
    log = gate.publish()
    with pytest.raises(LogForked, match="shows 3 entries, the journal has 0"):
        refuse_fork(Journal(tmp_path / "new.sqlite"), [log], gate.keys)


def test_a_checkpoint_of_another_key_or_of_none_is_named(gate: Gate) -> None:
    log = gate.publish()
    stranger = SignerKey.generate("fractalops.localhost/other")
    with pytest.raises(LogForked, match="is not a checkpoint of this log"):
        refuse_fork(gate.journal, [log], LogKeys(stranger.verifier))
    stranger = SignerKey.generate("fractalops.localhost/test")
    with pytest.raises(LogForked, match="not signed with a key that the journal knows"):
        refuse_fork(gate.journal, [log], LogKeys(stranger.verifier))
    (log / "checkpoint").write_text("gone")
    with pytest.raises(LogForked, match=r"log/checkpoint is not a checkpoint"):
        refuse_fork(gate.journal, [log], gate.keys)
