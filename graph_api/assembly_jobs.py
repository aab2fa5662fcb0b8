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
from graph_api.sweep_facts import SweepFacts
from ontology.ids import Ids
from proofs.errors import ProofError
from proofs.genesis import steward_slug
from proofs.governance import Governance
from proofs.index import Index
from stewards.attempts import EMBEDDED
from stewards.job_store import JobStore, Run
from stewards.jobs import CATALOG_PUSH, SWEEP, Job, Schedule
from stewards.wakes import Wakes
from stewards.wanted import Wanted, wanted_schedules

LOGGER = logging.getLogger(__name__)

TEMPORAL = "temporal"
TOLD_DAYS = 7
"""For so long a failed run is told of that nothing will follow by schedule."""
MISSING = 120.0
"""Seconds after which a worker that asks for nothing is missed."""
_DAY = 86_400.0
_UNDECIDED = frozenset({"submitted", "invalid", "genesis", "erasure"})
"""Entries of these kinds take no decision that somebody waits for."""
_SHOWN_ERROR = 200


@dataclass(frozen=True)
class Place:
    """What a platform is started with that its jobs follow from: ``sweep_every`` are the usual
    seconds between two sweeps, ``mirrored`` tells whether the log has a mirror, ``temporal`` is
    where Temporal answers, ``None`` where jobs run in this process."""

    sweep_every: float
    mirrored: bool
    temporal: str | None = None


class Jobs:
    """Any thread may call. ``versions`` are those of rules, ontology and shapes, ``clock`` gives
    seconds since 1970, ``process`` tells this process from every other one."""

    def __init__(
        self,
        path: Path,
        place: Place,
        *,
        ids: Ids,
        index: Index,
        governance: Callable[[], Governance],
        versions: Callable[[], Mapping[str, str]],
        facts: SweepFacts,
        clock: Callable[[], float],
        process: str,
    ) -> None:
        self.place = place
        self.store = JobStore(path)
        self.wakes = Wakes(process)
        self.clock = clock
        self._ids = ids
        self._index = index
        self._governance = governance
        self._versions = versions
        self._facts = facts
        self._began = clock()
        self._worker_seen: float | None = None
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
        self._worker_seen = self.clock()

    # --- how it goes

    def status(self) -> dict[str, Any]:
        """Who executes jobs, and how many of them have failed."""
        found: dict[str, Any] = {"executor": EMBEDDED}
        if self.place.temporal is not None:
            seen = self._worker_seen
            found = {
                "executor": TEMPORAL,
                "address": self.place.temporal,
                "worker_seen": None if seen is None else moment(seen),
            }
        return {**found, "failed": len(self.failed())}

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

    def failed(self) -> list[Run]:
        """The newest run of each job, where that has failed and somebody still waits for it."""
        wanted = {schedule.job.id for schedule in self.schedules()}
        since = self.clock() - TOLD_DAYS * _DAY
        return [
            run
            for job, run in sorted(self.store.newest().items())
            if run.state == "failed" and (job in wanted or (run.ended or run.began) > since)
        ]

    def dead_letters(self) -> dict[str, int]:
        """By the id of the catalog push, how many entities DataHub refused for good."""
        jobs = {s.job.id for s in self.schedules() if s.job.kind == CATALOG_PUSH}
        jobs |= {job for job, run in self.store.newest().items() if run.job.kind == CATALOG_PUSH}
        found = {}
        for job in sorted(jobs):
            dead = self.store.document(job).value.get("dead")
            if isinstance(dead, list) and dead:
                found[job] = len(dead)
        return found

    def warnings(self) -> list[str]:
        """What a person should look at, in sentences; each names the project that it is about, or
        says that it is about all."""
        found = []
        now = self.clock()
        if self.place.temporal is not None and now - (self._worker_seen or self._began) > MISSING:
            since = "the start" if self._worker_seen is None else moment(self._worker_seen)
            found.append(
                f"no worker has asked for jobs since {since}: nothing runs until one does. Start"
                " one with 'fractalops worker'"
            )
        for run in self.failed():
            job, times = run.job.id, "once" if run.attempt == 1 else f"{run.attempt} times"
            found.append(
                f"the job {job} of {_whose(run.job.project)} failed {times}, last: {_short(run.error)};"
                f" 'fractalops jobs show {run.id}' says more, 'fractalops jobs again {run.id}'"
                " tries once more"
            )
        for job, count in self.dead_letters().items():
            entities = "entity" if count == 1 else "entities"
            project = job.split(":")[1] if ":" in job else ""
            found.append(
                f"DataHub refused {count} {entities} of the job {job} of {_whose(project)}:"
                f" 'fractalops jobs letters {job}' lists what it said of each; once that is mended,"
                f" 'fractalops jobs run {job} --again' sends them again"
            )
        return found

    def _has_steward(self, slug: str) -> bool:
        project = self._governance().projects[slug]
        return self._ids.principal(steward_slug(slug)) in project.stewards


def _whose(project: str | None) -> str:
    return f"project {project}" if project else "all projects"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN_ERROR else text[:_SHOWN_ERROR] + "…"
