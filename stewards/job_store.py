"""``jobs.sqlite``: the schedules that people set, what was asked for, and what became of each run.

Invariant: what is asked for is on disk before it is answered, and stays until a run of it has
ended; a run that was begun stays "running" until somebody says how it ended, so that one whose
process was killed is known. Only what people set is kept here: the schedules that are there without
being asked for follow from the projects. A lost file costs the schedules set and what is known of
past runs; a damaged one is moved away, so that everything else goes on, and a row that another
version wrote is left alone. Which run ended last follows from the order in which they were noted,
and from no clock.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from stewards.errors import JobInvalid
from stewards.jobs import Job, Schedule

LOGGER = logging.getLogger(__name__)

T = TypeVar("T")
State = Literal["asked", "running", "retrying", "done", "failed"]
OPEN: frozenset[str] = frozenset({"asked", "running", "retrying"})
ENDED: frozenset[str] = frozenset({"done", "failed"})
KEPT_RUNS = 50
"""So many runs of a job are kept that have ended, the newest."""
MOST_SCHEDULES = 10_000
MOST_ASKED = 1_000
MOST_TOLD = 1_000
"""So many runs that haven't ended are told of at a time, the oldest."""
MOST_DOCUMENTS = 10_000
LONGEST_DOCUMENT = 1 << 25
"""Characters; what a push told DataHub of 50,000 entities is 2 million."""

_NOT_THE_FILE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)
"""Errors that speak of the disk, of rights or of others, and not of what the file holds."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS schedule (
  job TEXT PRIMARY KEY,
  described TEXT NOT NULL,
  every REAL NOT NULL,
  off REAL NOT NULL,
  paused INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS run (
  id TEXT PRIMARY KEY,
  job TEXT NOT NULL,
  described TEXT NOT NULL,
  state TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  executor TEXT NOT NULL,
  asked_by TEXT NOT NULL,
  began REAL NOT NULL,
  ended REAL,
  outcome TEXT NOT NULL,
  error TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS run_of_job ON run (job, began);
CREATE INDEX IF NOT EXISTS run_in_state ON run (state);
CREATE TABLE IF NOT EXISTS document (
  job TEXT PRIMARY KEY,
  version INTEGER NOT NULL,
  value TEXT NOT NULL
) STRICT;
"""


@dataclass(frozen=True)
class Run:
    """One run of a job. ``began`` and ``ended`` are seconds since 1970; ``executor`` is who runs
    it, such as ``embedded`` or ``temporal``; ``outcome`` is what came of it, ``error`` why it
    failed."""

    id: str
    job: Job
    state: State
    began: float
    attempt: int = 0
    executor: str = ""
    asked_by: str = ""
    ended: float | None = None
    outcome: Mapping[str, Any] | None = None
    error: str = ""


@dataclass(frozen=True)
class Document:
    """What a job remembers between its runs; ``version`` counts its changes, 0 for none yet."""

    version: int
    value: Mapping[str, Any]


class JobStore:
    """Any thread may call. Raises :class:`JobInvalid` where too much is asked for, and
    :class:`OSError` where the file can't be opened as things are."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            self._database = _open(path)
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _NOT_THE_FILE:
                raise OSError(
                    f"{path} can't be opened ({error}): see to the disk and its rights"
                ) from error
            LOGGER.error("%s can't be read (%s): set the schedules again", path, error)
            for suffix in ("", "-wal", "-shm"):
                damaged = path.with_name(path.name + suffix)
                if damaged.exists():
                    damaged.replace(path.with_name(path.name + ".damaged" + suffix))
            self._database = _open(path)
        self._newest = {run.job.id: run for run in _readable(self._database.execute(_NEWEST), _run)}

    def close(self) -> None:
        with self._lock:
            self._database.close()

    # --- schedules

    def schedules(self) -> list[Schedule]:
        """Those that people set, by the id of their job."""
        with self._lock:
            rows = self._database.execute(
                "SELECT described, every, off, paused FROM schedule ORDER BY job"
            ).fetchall()
        return _readable(rows, _schedule)

    def set_schedule(self, schedule: Schedule) -> None:
        """Keep this schedule for its job, whatever it had before."""
        with self._transaction() as database:
            (held,) = database.execute(
                "SELECT count(*) FROM schedule WHERE job != ?", (schedule.job.id,)
            ).fetchone()
            if held >= MOST_SCHEDULES:
                raise JobInvalid(f"there are {held} schedules already: remove some first")
            database.execute(
                "INSERT OR REPLACE INTO schedule VALUES (?, ?, ?, ?, ?)",
                (
                    schedule.job.id,
                    _described(schedule.job),
                    schedule.every,
                    schedule.offset,
                    int(schedule.paused),
                ),
            )

    def drop_schedule(self, job: str) -> bool:
        """Forget what was set for this job; whether something was."""
        with self._transaction() as database:
            return bool(database.execute("DELETE FROM schedule WHERE job = ?", (job,)).rowcount)

    # --- runs

    def ask(self, run: Run) -> Run:
        """Keep a run that somebody asks for. Where one of the same job waits to begin already, with
        the same arguments, it is that one."""
        with self._transaction() as database:
            waiting = database.execute(_SELECT + " WHERE state = 'asked' ORDER BY began").fetchall()
            for found in _readable(waiting, _run):
                if found.job == run.job:
                    return found
            if len(waiting) >= MOST_ASKED:
                raise JobInvalid(f"{len(waiting)} runs wait to begin already: try again later")
            _write(database, replace(run, state="asked"))
        return run

    def note(self, run: Run) -> None:
        """Keep where a run stands. One that has ended stays as it ended."""
        with self._transaction() as database:
            before = database.execute(
                "SELECT state, asked_by FROM run WHERE id = ?", (run.id,)
            ).fetchone()
            if before is not None:
                state, asked_by = before
                if state in ENDED:
                    return
                run = replace(run, asked_by=run.asked_by or asked_by)
            _write(database, run)
            if run.state in ENDED:
                database.execute(
                    "DELETE FROM run WHERE job = ? AND state IN ('done', 'failed') AND id NOT IN"
                    " (SELECT id FROM run WHERE job = ? AND state IN ('done', 'failed')"
                    " ORDER BY rowid DESC LIMIT ?)",
                    (run.job.id, run.job.id, KEPT_RUNS),
                )
                database.commit()
                self._newest[run.job.id] = run

    def run(self, identifier: str) -> Run | None:
        with self._lock:
            row = self._database.execute(_SELECT + " WHERE id = ?", (identifier,)).fetchone()
        return next(iter(_readable([row] if row else [], _run)), None)

    def runs(self, job: str | None = None, limit: int = KEPT_RUNS) -> list[Run]:
        """The newest runs, of one job or of all, newest first."""
        where, given = ("", ()) if job is None else (" WHERE job = ?", (job,))
        with self._lock:
            rows = self._database.execute(
                f"{_SELECT}{where} ORDER BY began DESC, id LIMIT ?", (*given, limit)
            ).fetchall()
        return _readable(rows, _run)

    def open_runs(self) -> list[Run]:
        """Those that haven't ended, the oldest first."""
        with self._lock:
            rows = self._database.execute(
                _SELECT + " WHERE state IN ('asked', 'running', 'retrying') ORDER BY began, id"
                " LIMIT ?",
                (MOST_TOLD,),
            ).fetchall()
        return _readable(rows, _run)

    def newest(self) -> dict[str, Run]:
        """Of every job the run that ended last, by the job's id."""
        with self._lock:
            return dict(self._newest)

    # --- documents

    def document(self, job: str) -> Document:
        with self._lock:
            row = self._database.execute(
                "SELECT version, value FROM document WHERE job = ?", (job,)
            ).fetchone()
        return Document(row[0], json.loads(row[1])) if row else Document(0, {})

    def keep_document(self, job: str, value: Mapping[str, Any], *, after: int) -> int | None:
        """Keep this in the place of version ``after``; the new version, ``None`` where another one
        is there by now."""
        text = json.dumps(value)
        if len(text) > LONGEST_DOCUMENT:
            raise JobInvalid(f"a job may remember {LONGEST_DOCUMENT} bytes, not {len(text)}")
        with self._transaction() as database:
            row = database.execute("SELECT version FROM document WHERE job = ?", (job,)).fetchone()
            if (row[0] if row else 0) != after:
                return None
            (held,) = database.execute("SELECT count(*) FROM document").fetchone()
            if row is None and held >= MOST_DOCUMENTS:
                raise JobInvalid(f"jobs remember {held} documents already")
            database.execute(
                "INSERT OR REPLACE INTO document VALUES (?, ?, ?)", (job, after + 1, text)
            )
        return after + 1

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._database:
            yield self._database


_SELECT = (
    "SELECT id, described, state, attempt, executor, asked_by, began, ended, outcome, error"
    " FROM run"
)

# Of the columns beside max(), SQLite gives those of the row that has it.
_NEWEST = (
    "SELECT id, described, state, attempt, executor, asked_by, began, ended, outcome, error"
    " FROM (SELECT *, max(rowid) FROM run WHERE state IN ('done', 'failed') GROUP BY job)"
)


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, check_same_thread=False, timeout=10.0)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.executescript(_SCHEMA)
        if database.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("damaged")
    except sqlite3.DatabaseError:
        database.close()
        raise
    return database


def _write(database: sqlite3.Connection, run: Run) -> None:
    database.execute(
        "INSERT OR REPLACE INTO run VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            run.id,
            run.job.id,
            _described(run.job),
            run.state,
            run.attempt,
            run.executor,
            run.asked_by,
            run.began,
            run.ended,
            json.dumps(run.outcome),
            run.error,
        ),
    )


def _readable(rows: Iterable[tuple[Any, ...]], read: Callable[[tuple[Any, ...]], T]) -> list[T]:
    found = []
    for row in rows:
        try:
            found.append(read(row))
        except (JobInvalid, TypeError, ValueError) as error:
            LOGGER.warning("what another version kept of a job is left alone: %s", error)
    return found


def _schedule(row: tuple[Any, ...]) -> Schedule:
    described, every, offset, paused = row
    return Schedule(_job(described), every, offset, bool(paused))


def _run(row: tuple[Any, ...]) -> Run:
    identifier, described, state, attempt, executor, asked_by, began, ended, outcome, error = row
    return Run(
        identifier,
        _job(described),
        state,
        began,
        attempt,
        executor,
        asked_by,
        ended,
        json.loads(outcome),
        error,
    )


def _described(job: Job) -> str:
    return json.dumps(
        {
            "kind": job.kind,
            "project": job.project,
            "label": job.label,
            "arguments": dict(job.arguments),
        }
    )


def _job(described: str) -> Job:
    return Job(**json.loads(described))
