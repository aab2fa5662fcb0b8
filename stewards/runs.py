"""The runs of stewards: begun, stopped anywhere, and gone on with.

Invariant: a thread for each project, and a note beside the watermarks that says whether it has a
run that isn't over, so that a steward without one, with nothing new to read, neither opens the
checkpoints nor imports LangGraph, and nothing is written. A run that a killed process left goes on
where its last checkpoint stands; one that ended in an error begins anew, and still follows what
waited. A thread that can't be gone on with is thrown away: the facts and the graph are the truth.
Source: https://docs.langchain.com/oss/python/langgraph/durable-execution
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from stewards.errors import StewardError
from stewards.fact_queries import Page
from stewards.run_state import page_of, written
from stewards.sweep import Sweep
from stewards.watermark import WatermarkStore

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.types import StateSnapshot

    from stewards.graph import Graph

LOGGER = logging.getLogger(__name__)

MAX_STEPS = 100_000
"""Steps of one run: a bound on what would be a fault of ours."""
READERS = 1
"""So many sources are read at once. The facts have one engine, which isn't a steward's alone."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS run (
  thread TEXT PRIMARY KEY, stage TEXT NOT NULL, awaiting TEXT NOT NULL
) STRICT, WITHOUT ROWID
"""

Stage = Literal["over", "at work", "failed", "waiting"]


@dataclass(frozen=True)
class Note:
    """Where the run of a thread stands, and the proposals that it follows."""

    stage: Stage = "over"
    awaiting: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ended:
    """The state of a run that is over or waits, and the error that ended it early."""

    state: Mapping[str, Any]
    error: StewardError | None = None


class Runs:
    """Keeps the runs of the stewards that share this store, each for one project. The checkpoints
    are in the store's own file, or in the PostgreSQL database ``dsn``."""

    def __init__(self, store: WatermarkStore, dsn: str | None = None) -> None:
        self._store = store
        self._dsn = dsn
        self._lock = threading.Lock()
        self._closing = ExitStack()
        self._saver: BaseCheckpointSaver[Any] | None = None
        self._graph: Graph | None = None
        with store.transaction() as database:
            database.execute(_SCHEMA)

    def close(self) -> None:
        """Close the checkpoints, where they were opened."""
        with self._lock:
            self._graph = self._saver = None
            self._closing.close()

    def note(self, project: str) -> Note:
        """Whether the project has a run that isn't over."""
        with self._store.transaction() as database:
            row = database.execute(
                "SELECT stage, awaiting FROM run WHERE thread = ?", (project,)
            ).fetchone()
        return Note(row[0], tuple(json.loads(row[1]))) if row else Note()

    def go_on(self, sweep: Sweep, page: Page | None) -> Ended:
        """Let the project's run go on, or begin one with this page, until it is over or waits."""
        project, before = sweep.project, self.note(sweep.project)
        self._write(project, Note("at work", before.awaiting))
        try:
            state = self._invoke(sweep, page, before)
        except StewardError as error:
            state = dict(self._snapshot(project).values)
            self._leave(project, "failed", state)
            return Ended(state, error)
        except Exception:
            # A fault of ours, or of the checkpoint: it mustn't meet us again at every cycle.
            self._forget(project)
            raise
        self._leave(project, "waiting", state)
        return Ended(state)

    def _invoke(self, sweep: Sweep, page: Page | None, before: Note) -> dict[str, Any]:
        graph, _ = self._opened()
        # Names from the facts must not reach a service for traces of LangChain, whatever the
        # environment says.
        from langgraph.types import Command
        from langsmith import tracing_context

        from stewards.graph import Context

        watermark = sweep.bookmark.record.watermark
        anew = {"project": sweep.project, "page": None if page is None else written(page)}
        left = self._snapshot(sweep.project)
        given: Any = anew
        if left.interrupts:
            given = Command(resume=True, update=anew)
        elif before.stage == "at work" and left.next and _goes_on_from(left.values, watermark):
            LOGGER.info("the run of project %s goes on at %s", sweep.project, ", ".join(left.next))
            given = None
        with tracing_context(enabled=False):
            state = graph.invoke(
                given, _config(sweep.project), context=Context(sweep), durability="sync"
            )
        return dict(state)

    def _snapshot(self, project: str) -> StateSnapshot:
        graph, _ = self._opened()
        return graph.get_state(_config(project))

    def _leave(self, project: str, stage: Stage, state: Mapping[str, Any]) -> None:
        from stewards.checkpoints import keep_newest

        awaiting = tuple(state.get("awaiting", ()))
        if not awaiting:
            self._forget(project)
            return
        _, saver = self._opened()
        keep_newest(saver, project)
        self._write(project, Note(stage, awaiting))

    def _forget(self, project: str) -> None:
        _, saver = self._opened()
        saver.delete_thread(project)
        with self._store.transaction() as database:
            database.execute("DELETE FROM run WHERE thread = ?", (project,))

    def _write(self, project: str, note: Note) -> None:
        with self._store.transaction() as database:
            database.execute(
                "INSERT OR REPLACE INTO run VALUES (?, ?, ?)",
                (project, note.stage, json.dumps(note.awaiting)),
            )

    def _opened(
        self,
    ) -> tuple[Graph, BaseCheckpointSaver[Any]]:
        with self._lock:
            if self._graph is None or self._saver is None:
                # A second and 45 MB, which only a steward with something to do is worth.
                from stewards.checkpoints import postgres_saver, sqlite_saver
                from stewards.graph import build

                self._saver = (
                    postgres_saver(self._dsn, self._closing)
                    if self._dsn
                    else sqlite_saver(str(self._store.path), self._closing)
                )
                self._graph = build(self._saver)
            return self._graph, self._saver


def _config(project: str) -> Any:
    return {
        "configurable": {"thread_id": project},
        "recursion_limit": MAX_STEPS,
        "max_concurrency": READERS,
    }


def _goes_on_from(state: Mapping[str, Any], watermark: int) -> bool:
    """Whether the page in hand is still the next one, or has just been passed."""
    page = page_of(state)
    return page is None or watermark in (page.after, page.until)
