"""Snapshots over a real store: cut, kept, leased, rebuilt, adopted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyoxigraph import NamedNode, Quad

from ontology.errors import SnapshotError, StoreError
from ontology.ids import Ids
from ontology.snapshots import MOST_ADOPTED, Snapshot, Snapshots
from ontology.store import GraphStore, copy_snapshot, open_snapshot
from ontology.terms import Delta

IDS = Ids()
GRAPH = NamedNode(IDS.graph("lineage/shop"))


def row(number: int) -> Quad:
    return Quad(
        NamedNode(f"http://e/{number}"), NamedNode("http://e/p"), NamedNode("http://e/o"), GRAPH
    )


class Journal:
    """One row per head, a store that holds them, and the two ways to a copy of it."""

    def __init__(self, folder: Path) -> None:
        self.store = GraphStore(folder / "graph", IDS)
        self.head = -1
        self.cuts = 0
        self.rebuilt: list[int] = []
        self.bases: list[int | None] = []
        self.broken: Exception | None = None
        self.identity = "history"

    def commit(self) -> int:
        self.head += 1
        self.store.apply(Delta(frozenset({row(self.head)})), Delta(), self.head)
        return self.head

    def cut(self, path: Path) -> int:
        self.cuts += 1
        if self.broken is not None:
            path.mkdir()
            (path / "half").write_text("made")
            raise self.broken
        self.store.checkpoint(path)
        return self.head

    def rebuild(self, head: int, path: Path, base: Snapshot | None) -> None:
        self.rebuilt.append(head)
        self.bases.append(None if base is None else base.head)
        if base is not None:
            copy_snapshot(base.path, path)
        store = GraphStore(path, IDS)
        for number in range(0 if base is None else base.head + 1, head + 1):
            store.apply(Delta(frozenset({row(number)})), Delta(), number)


Opener = Callable[..., Snapshots]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    made = Journal(tmp_path)
    made.commit()
    return made


@pytest.fixture
def opened(journal: Journal, tmp_path: Path) -> Iterator[Opener]:
    made: list[Snapshots] = []

    def start(budget: int = 1 << 30, interval: float = 0.02) -> Snapshots:
        snapshots = Snapshots(
            tmp_path / "snapshots",
            journal.cut,
            journal.rebuild,
            budget,
            interval=interval,
            identity=lambda head: f"{journal.identity}-{head}",
        )
        snapshots.start()
        made.append(snapshots)
        return snapshots

    yield start
    for snapshots in made:
        snapshots.close()


def heads_of(path: Path) -> set[str]:
    """The rows that a snapshot holds."""
    return {
        str(quad.subject) for quad in open_snapshot(path).quads_for_pattern(None, None, None, GRAPH)
    }


def rows(head: int) -> set[str]:
    return {f"<http://e/{number}>" for number in range(head + 1)}


def folders(snapshots: Path) -> set[str]:
    return {path.name for path in snapshots.iterdir()}


def test_the_first_snapshot_is_there_at_start(opened: Opener, tmp_path: Path) -> None:
    snapshot = opened().current()
    assert snapshot.head == 0
    assert snapshot.path == tmp_path / "snapshots" / "0"
    assert heads_of(snapshot.path) == rows(0)


def test_before_the_start_there_is_none(journal: Journal, tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path / "s", journal.cut, journal.rebuild, 0)
    with pytest.raises(SnapshotError, match="no snapshot yet"):
        snapshots.current()


def test_a_notice_brings_a_new_snapshot(opened: Opener, journal: Journal) -> None:
    snapshots = opened()
    heard: list[int] = []
    snapshots.subscribe(lambda snapshot: heard.append(snapshot.head))
    snapshots.notify(journal.commit())
    found = snapshots.wait_for(1, 5)
    assert found.head == 1
    assert heads_of(found.path) == rows(1)
    assert heads_of(snapshots.at(0).path) == rows(0)
    time.sleep(0.05)
    assert heard == [1]


def test_a_burst_of_commits_shares_few_snapshots(opened: Opener, journal: Journal) -> None:
    snapshots = opened(interval=10.0)
    before = journal.cuts
    for _ in range(30):
        snapshots.notify(journal.commit())
    time.sleep(0.2)
    assert journal.cuts - before <= 1
    # A reader who waits is not made to wait for the pause.
    assert snapshots.wait_for(30, 5).head == 30
    assert journal.cuts - before <= 2


def test_a_head_that_never_comes(opened: Opener, journal: Journal) -> None:
    snapshots = opened()
    before = journal.cuts
    with pytest.raises(SnapshotError, match="head 7"):
        snapshots.wait_for(7, 0.1)
    assert journal.cuts == before
    for head in (7, -1):
        with pytest.raises(SnapshotError, match="no head"):
            snapshots.at(head)


def test_refresh_without_a_change_keeps_the_snapshot(opened: Opener, tmp_path: Path) -> None:
    snapshots = opened()
    first = snapshots.current()
    assert snapshots.refresh() == first
    assert folders(tmp_path / "snapshots") == {"0"}


def test_old_snapshots_go_when_the_budget_is_spent(
    opened: Opener, journal: Journal, tmp_path: Path
) -> None:
    snapshots = opened(budget=0)
    for _ in range(4):
        snapshots.notify(journal.commit())
        snapshots.wait_for(journal.head, 5)
    snapshots.close()
    assert snapshots.retained() == [4]
    assert folders(tmp_path / "snapshots") == {"4"}
    assert snapshots.bytes_pinned() == 0


def test_files_that_snapshots_share_count_once(opened: Opener, journal: Journal) -> None:
    snapshots = opened()
    for _ in range(5):
        snapshots.notify(journal.commit())
        snapshots.wait_for(journal.head, 5)
    pinned = snapshots.bytes_pinned()
    apparent = sum(
        entry.stat().st_size
        for head in snapshots.retained()[:-1]
        for entry in snapshots.at(head).path.iterdir()
    )
    assert 0 < pinned < apparent


def test_a_leased_snapshot_stays(opened: Opener, journal: Journal) -> None:
    snapshots = opened(budget=0)
    lease = snapshots.lease(0)
    with snapshots.lease() as same:
        assert same == lease.snapshot
    for _ in range(3):
        snapshots.notify(journal.commit())
        snapshots.wait_for(journal.head, 5)
    assert heads_of(lease.snapshot.path) == rows(0)
    lease.release()
    lease.release()
    snapshots.notify(journal.commit())
    snapshots.wait_for(journal.head, 5)
    snapshots.close()
    assert snapshots.retained() == [4]


def test_a_head_that_is_gone_is_rebuilt_once(opened: Opener, journal: Journal) -> None:
    snapshots = opened(budget=0)
    for _ in range(3):
        snapshots.notify(journal.commit())
        snapshots.wait_for(journal.head, 5)
    assert snapshots.try_lease(1) is None
    leases = []
    threads = [threading.Thread(target=lambda: leases.append(snapshots.lease(1))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert journal.rebuilt == [1]
    assert {heads == rows(1) for heads in (heads_of(lease.snapshot.path) for lease in leases)} == {
        True
    }
    assert snapshots.current().head == 3
    for lease in leases:
        lease.release()


def test_it_is_rebuilt_from_the_nearest_older_one(opened: Opener, journal: Journal) -> None:
    snapshots = opened(budget=0)
    for _ in range(2):
        snapshots.notify(journal.commit())
        snapshots.wait_for(journal.head, 5)
    with snapshots.lease(2):
        for _ in range(3):
            snapshots.notify(journal.commit())
            snapshots.wait_for(journal.head, 5)
        with snapshots.lease(4) as four:
            assert heads_of(four.path) == rows(4)
        with snapshots.lease(1) as one:
            assert heads_of(one.path) == rows(1)
    assert journal.rebuilt == [4, 1]
    assert journal.bases == [2, None]
    assert heads_of(snapshots.current().path) == rows(5)


def test_a_rebuild_that_fails_leaves_nothing(
    opened: Opener, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots = opened(budget=0)
    snapshots.notify(journal.commit())
    snapshots.wait_for(1, 5)

    def broken(head: int, path: Path, base: Snapshot | None) -> None:
        path.mkdir()
        raise StoreError("the disk is full")

    monkeypatch.setattr(snapshots, "_rebuild", broken)
    with pytest.raises(SnapshotError, match="disk is full"):
        snapshots.at(0)
    snapshots.close()
    assert folders(tmp_path / "snapshots") == {"1"}


def test_reading_goes_on_when_no_snapshot_can_be_cut(
    opened: Opener,
    journal: Journal,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("ontology.snapshots._RETRY", 0.05)
    snapshots = opened()
    journal.broken = StoreError("no space left on device")
    snapshots.notify(journal.commit())
    with pytest.raises(SnapshotError):
        snapshots.wait_for(1, 0.3)
    assert heads_of(snapshots.current().path) == rows(0)
    assert "no snapshot could be cut" in caplog.text
    journal.broken = None
    assert snapshots.wait_for(1, 5).head == 1
    snapshots.close()
    assert folders(tmp_path / "snapshots") == {"0", "1"}


def test_the_next_run_takes_over_what_is_whole(
    opened: Opener, journal: Journal, tmp_path: Path
) -> None:
    first = opened()
    for _ in range(3):
        first.notify(journal.commit())
        first.wait_for(journal.head, 5)
    first.close()
    folder = tmp_path / "snapshots"
    (folder / ".123-0").mkdir()
    (folder / "note.txt").write_text("?")
    (folder / "007").mkdir()
    (folder / "1" / "CURRENT").unlink()
    (folder / "99").mkdir()
    second = opened()
    assert second.retained() == [0, 2, 3]
    assert folders(folder) == {"0", "2", "3"}
    assert heads_of(second.at(2).path) == rows(2)


def test_a_snapshot_of_another_history_is_not_taken_over(
    opened: Opener, journal: Journal, tmp_path: Path
) -> None:
    first = opened()
    first.notify(journal.commit())
    first.wait_for(1, 5)
    first.close()
    journal.identity = "restored from a backup"
    assert opened().retained() == [1]


def test_no_more_are_taken_over_than_is_quick(opened: Opener, journal: Journal) -> None:
    first = opened()
    for _ in range(MOST_ADOPTED + 3):
        first.notify(journal.commit())
        first.wait_for(journal.head, 5)
    first.close()
    assert opened().retained() == list(range(3, MOST_ADOPTED + 4))
