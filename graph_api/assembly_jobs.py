"""The jobs of one data folder: what is wanted, what became of it, and who has something to look at.

Invariant: this keeps what is wanted and what came of it, and executes nothing: that is an
executor's, in this process or, where Temporal is configured, in another one. A decision wakes its
project, what changes what everybody goes by (rules, ontology, shapes, governance) wakes all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graph_api.job_json import moment, run_json, schedule_json
from graph_api.run_facts import RunFacts
from ontology.ids import Ids
from proofs.errors import ProofError
from proofs.genesis import steward_slug
from proofs.governance import Governance
from proofs.index import Index
from stewards.attempts import EMBEDDED
from stewards.job_store import JobStore, Run
from stewards.jobs import SWEEP, Job, Schedule
from stewards.wakes import Wakes
from stewards.wanted import Wanted, wanted_schedules

LOGGER = logging.getLogger(__name__)

TEMPORAL = "temporal"
_UNDECIDED = frozenset({"submitted", "invalid", "genesis", "erasure", "rotation"})
"""Entries of these kinds take no decision that somebody waits for."""


@dataclass(frozen=True)
class Place:
    """What a platform is started with that its jobs follow from: ``sweep_every`` are the usual
    seconds between two sweeps, ``mirrored`` tells whether the log has a mirror, ``temporal`` is
    where Temporal answers, ``None`` where jobs run in this process; ``looking`` tells whether a
    file says which machines there are to look for."""

    sweep_every: float
    mirrored: bool
    temporal: str | None = None
    looking: bool = False


class Jobs:
    """Any thread may call. ``versions`` are those of rules, ontology and shapes, ``clock`` gives
    seconds since 1970; who has something to look at is told to ``wakes``."""

    def __init__(
        self,
        path: Path,
        place: Place,
        wakes: Wakes,
        *,
        ids: Ids,
        index: Index,
        governance: Callable[[], Governance],
        versions: Callable[[], Mapping[str, str]],
        facts: RunFacts,
        clock: Callable[[], float],
    ) -> None:
        self.place = place
        self.store = JobStore(path)
        self.wakes = wakes
        self.clock = clock
        self._ids = ids
        self._index = index
        self._governance = governance
        self._versions = versions
        self._facts = facts
        self.began = clock()
        self.worker_seen: float | None = None
        self._known = (governance(), dict(versions()))

    def close(self) -> None:
        self.store.close()

    # --- what is wanted

    def wanted(self) -> list[Wanted]:
        """The schedules, by the id of their job."""
        projects = self._governance().projects
        return wanted_schedules(
            projects.keys(),
            [slug for slug in projects if self._has_steward(slug)],
            self.store.schedules(),
            sweep_every=self.place.sweep_every,
            mirrored=self.place.mirrored,
            looking=self.place.looking,
        )

    def schedules(self) -> list[Schedule]:
        """The same for an executor."""
        return [wanted.schedule for wanted in self.wanted()]

    def schedules_json(self) -> list[dict[str, Any]]:
        newest, now = self.store.newest(), self.clock()
        return [schedule_json(wanted, newest, now) for wanted in self.wanted()]

    def set_schedule(self, schedule: Schedule) -> None:
        """Raises :class:`stewards.errors.JobInvalid` where there are too many."""
        self.store.set_schedule(schedule)
        self.wakes.change()

    def drop_schedule(self, job: str) -> bool:
        """Go back to the usual schedule; whether another one was set."""
        dropped = self.store.drop_schedule(job)
        if dropped:
            self.wakes.change()
        return dropped

    def ask(self, run: Run) -> Run:
        """Keep a run that is asked for, or the one of the same job that waits already. Raises
        :class:`stewards.errors.JobInvalid` where too many wait."""
        kept = self.store.ask(run)
        self.wakes.change()
        return kept

    # --- what became of it

    def note(self, run: Run) -> None:
        """Keep where a run stands; that it ended, or an attempt failed, becomes a fact."""
        before = self.store.run(run.id)
        self.store.note(run)
        after = self.store.run(run.id)
        if after is None or after.state not in ("retrying", "done", "failed"):
            return
        if before is None or (before.state, before.attempt) != (after.state, after.attempt):
            self._facts.ran(after, before.state if before else "")

    def last_began(self, job: str) -> float | None:
        """When a run of this job that has ended began, the newest one."""
        newest = self.store.newest().get(job)
        return None if newest is None else newest.began

    # --- who has something to look at

    def committed(self, head: int) -> None:
        """An entry was committed."""
        known = (self._governance(), dict(self._versions()))
        before, self._known = self._known, known
        governed = known[0] is not before[0]
        if governed or known[1] != before[1]:
            self.wakes.wake(known[0].projects, changed=governed)
            return
        try:
            entry = self._index.entry(head)
        except ProofError as error:
            LOGGER.warning("entry %d can't be looked up, so all are woken: %s", head, error)
            self.wakes.wake(known[0].projects)
            return
        if entry is not None and entry.project and entry.kind not in _UNDECIDED:
            self.wakes.wake([entry.project])

    def worker_asks(self) -> None:
        """A worker asked what is wanted."""
        self.worker_seen = self.clock()

    # --- how it goes

    def executor(self) -> dict[str, Any]:
        """Who executes jobs, and where that is elsewhere, when it asked last what is wanted."""
        if self.place.temporal is None:
            return {"executor": EMBEDDED}
        seen = self.worker_seen
        return {
            "executor": TEMPORAL,
            "address": self.place.temporal,
            "worker_seen": None if seen is None else moment(seen),
        }

    def stewards(self) -> list[dict[str, Any]]:
        """The stewards as ``GET /stewards`` shows them where none is at work in this process."""
        newest = self.store.newest()
        found = []
        for slug in sorted(self._governance().projects):
            if self._has_steward(slug):
                last = newest.get(Job(SWEEP, slug).id)
                found.append(
                    {
                        "name": steward_slug(slug),
                        "project": slug,
                        "last_run_at": None if last is None else run_json(last)["ended"],
                        "last_outcome": last and (last.error or last.state),
                    }
                )
        return found

    def _has_steward(self, slug: str) -> bool:
        project = self._governance().projects[slug]
        return self._ids.principal(steward_slug(slug)) in project.stewards
