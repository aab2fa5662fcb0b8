"""What is kept of jobs: schedules that were set, runs, and what a job remembers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from stewards import job_store
from stewards.errors import JobInvalid
from stewards.job_store import JobStore, Run
from stewards.jobs import DAY, HOUR, Job, Schedule

AUDIT = Job("audit")
RECLASSIFY = Job("reclassify", "shop", arguments={"since": 4})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    opened = JobStore(tmp_path / "jobs.sqlite")
    yield opened
    opened.close()


def test_schedules_are_set_changed_and_dropped(store: JobStore) -> None:
    nightly = Schedule(AUDIT, DAY, 3 * HOUR)
    store.set_schedule(nightly)
    store.set_schedule(Schedule(RECLASSIFY, HOUR))
    assert store.schedules() == [nightly, Schedule(RECLASSIFY, HOUR)]
    store.set_schedule(replace(nightly, paused=True))
    assert store.schedules()[0].paused
    assert store.drop_schedule("audit")
    assert not store.drop_schedule("audit")
    assert store.schedules() == [Schedule(RECLASSIFY, HOUR)]


def test_the_number_of_schedules_has_a_bound(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_store, "MOST_SCHEDULES", 1)
    store.set_schedule(Schedule(AUDIT, DAY))
    store.set_schedule(Schedule(AUDIT, HOUR))
    with pytest.raises(JobInvalid, match="remove some first"):
        store.set_schedule(Schedule(RECLASSIFY, DAY))


def test_who_asks_twice_gets_the_run_that_waits(store: JobStore) -> None:
    first = store.ask(Run("r1", AUDIT, "asked", 1.0, asked_by="ada"))
    assert store.ask(Run("r2", AUDIT, "asked", 2.0)) == first
    other = store.ask(Run("r3", replace(RECLASSIFY, arguments={}), "asked", 3.0))
    assert other.id == "r3"
    assert store.ask(Run("r4", RECLASSIFY, "asked", 4.0)).id == "r4"
    store.note(replace(first, state="running", executor="embedded", attempt=1))
    assert store.ask(Run("r5", AUDIT, "asked", 5.0)).id == "r5"
    assert [run.id for run in store.open_runs()] == ["r1", "r3", "r4", "r5"]


def test_what_was_asked_for_outlives_the_process(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs.sqlite")
    store.ask(Run("r1", RECLASSIFY, "asked", 1.0, asked_by="ada"))
    again = JobStore(tmp_path / "jobs.sqlite")
    assert again.open_runs() == [Run("r1", RECLASSIFY, "asked", 1.0, asked_by="ada")]
    store.close()
    again.close()


def test_a_run_that_has_ended_stays_as_it_ended(store: JobStore) -> None:
    run = store.ask(Run("r1", AUDIT, "asked", 1.0, asked_by="ada"))
    done = replace(run, state="done", ended=9.0, outcome={"ok": True}, executor="embedded")
    store.note(replace(run, state="running", asked_by="", executor="embedded"))
    store.note(done)
    store.note(replace(run, state="retrying", error="came late"))
    assert store.run("r1") == done
    assert store.run("r2") is None
    assert store.open_runs() == []


def test_of_past_runs_the_newest_are_kept_and_open_ones_all(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_store, "KEPT_RUNS", 3)
    store.note(Run("open", AUDIT, "running", 0.5))
    for n in range(6):
        store.note(Run(f"r{n}", AUDIT, "failed" if n % 2 else "done", float(n + 1), ended=n + 1.5))
    store.note(Run("other", RECLASSIFY, "done", 0.1, ended=0.2))
    assert [run.id for run in store.runs("audit", 9)] == ["r5", "r4", "r3", "open"]
    assert [run.id for run in store.runs(limit=2)] == ["r5", "r4"]
    assert {job: run.id for job, run in store.newest().items()} == {
        "audit": "r5",
        "reclassify:shop": "other",
    }


def test_a_job_remembers_and_loses_no_change_of_another(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.document("catalog-push").version == 0
    assert store.keep_document("catalog-push", {"head": 4}, after=0) == 1
    assert store.keep_document("catalog-push", {"head": 3}, after=0) is None
    assert store.keep_document("catalog-push", {"head": 5}, after=1) == 2
    assert store.document("catalog-push").value == {"head": 5}
    monkeypatch.setattr(job_store, "LONGEST_DOCUMENT", 10)
    with pytest.raises(JobInvalid, match="may remember 10 bytes"):
        store.keep_document("catalog-push", {"head": "0123456789"}, after=2)


def test_a_run_that_begins_after_the_clock_was_put_back_is_kept(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_store, "KEPT_RUNS", 3)
    for n in range(4):
        store.note(Run(f"r{n}", AUDIT, "failed", DAY + n, ended=DAY + n))
    store.note(Run("later", AUDIT, "done", 5.0, ended=6.0))
    assert store.run("later") is not None
    assert store.newest()["audit"].id == "later"


def test_what_another_version_wrote_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "jobs.sqlite"
    store = JobStore(path)
    store.set_schedule(Schedule(AUDIT, DAY))
    store.set_schedule(Schedule(RECLASSIFY, DAY))
    store.ask(Run("r1", AUDIT, "asked", 1.0))
    store.note(Run("r2", RECLASSIFY, "done", 2.0, ended=3.0))
    store.ask(Run("r3", RECLASSIFY, "asked", 4.0))
    store.close()
    with closing(sqlite3.connect(path)) as other, other:
        for table in ("schedule", "run"):
            other.execute(f"UPDATE {table} SET described = replace(described, 'audit', 'dance')")
    store = JobStore(path)
    assert store.schedules() == [Schedule(RECLASSIFY, DAY)]
    assert [run.id for run in store.open_runs()] == ["r3"]
    assert [run.id for run in store.runs()] == ["r3", "r2"]
    assert store.run("r1") is None
    assert list(store.newest()) == ["reclassify:shop"]
    assert store.ask(Run("r4", RECLASSIFY, "asked", 5.0)).id == "r3"
    assert "there is no job 'dance'" in caplog.text
    store.close()


def test_a_file_that_can_not_be_opened_now_is_left_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    store = JobStore(path)
    store.set_schedule(Schedule(AUDIT, DAY))
    store.close()
    in_the_way = tmp_path / "jobs.sqlite-wal"
    in_the_way.mkdir()
    with pytest.raises(OSError, match="see to the disk"):
        JobStore(path)
    in_the_way.rmdir()
    store = JobStore(path)
    assert store.schedules() == [Schedule(AUDIT, DAY)]
    store.close()


def test_a_damaged_file_is_moved_away(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    path.write_bytes(b"no database" * 1000)
    store = JobStore(path)
    store.set_schedule(Schedule(AUDIT, DAY))
    store.close()
    assert (tmp_path / "jobs.sqlite.damaged").exists()
    store = JobStore(path)
    assert store.schedules() == [Schedule(AUDIT, DAY)]
    store.close()


def test_the_run_that_ended_last_is_known_by_job_whatever_the_clock_says(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    store = JobStore(path)
    sweep = Job("sweep", "shop")
    for number, (job, state, began) in enumerate(
        (
            (AUDIT, "failed", 1.0),
            (AUDIT, "failed", 3.0),
            (AUDIT, "done", 2.0),
            (AUDIT, "running", 4.0),
            (sweep, "done", 5.0),
            (RECLASSIFY, "running", 6.0),
        )
    ):
        store.note(Run(f"r{number}", job, state, began, outcome={"at": began}))  # type: ignore[arg-type]
    newest = store.newest()
    assert {job: run.id for job, run in newest.items()} == {"audit": "r2", "sweep:shop": "r4"}
    store.close()
    store = JobStore(path)
    assert store.newest() == newest
    store.close()


def test_the_number_of_documents_has_a_bound(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_store, "MOST_DOCUMENTS", 1)
    assert store.keep_document("audit", {}, after=0) == 1
    assert store.keep_document("audit", {}, after=1) == 2
    with pytest.raises(JobInvalid, match="1 documents already"):
        store.keep_document("mirror", {}, after=0)
