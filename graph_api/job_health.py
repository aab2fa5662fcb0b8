"""How jobs go: what has failed, what DataHub refused, and whether a worker is there.

Invariant: everything told is read from what is kept of runs; it stands until a later run is done,
and each sentence says what to do next.
"""

from __future__ import annotations

from typing import Any

from graph_api.assembly_jobs import Jobs
from graph_api.job_json import moment
from stewards.job_store import Run
from stewards.jobs import CATALOG_PUSH

TOLD_DAYS = 7
"""For so long a failed run is told of that nothing will follow by schedule."""
MISSING = 120.0
"""Seconds after which a worker that asks for nothing is missed."""
MOST_TOLD = 50
_DAY = 86_400.0
_SHOWN_ERROR = 200


class JobHealth:
    """Of the jobs of one data folder; any thread may call."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def status(self) -> dict[str, Any]:
        """Who executes jobs, and how many of them have failed."""
        return {**self._jobs.executor(), "failed": len(self.failed())}

    def failed(self) -> list[Run]:
        """The newest run of each job, where that has failed and somebody still waits for it."""
        wanted = {schedule.job.id for schedule in self._jobs.schedules()}
        since = self._jobs.clock() - TOLD_DAYS * _DAY
        return [
            run
            for job, run in sorted(self._jobs.store.newest().items())
            if run.state == "failed" and (job in wanted or (run.ended or run.began) > since)
        ]

    def dead_letters(self) -> dict[str, int]:
        """By the id of the catalog push, how many entities DataHub refused for good."""
        pushes = {job: run.job for job, run in self._jobs.store.newest().items()}
        pushes |= {schedule.job.id: schedule.job for schedule in self._jobs.schedules()}
        found = {}
        for name, job in sorted(pushes.items()):
            if job.kind == CATALOG_PUSH:
                count = self._dead(name, job.arguments["server"].rstrip("/"))
                if count:
                    found[name] = count
        return found

    def _dead(self, job: str, server: str) -> int:
        """How many that DataHub refused, and not another one that the job was for earlier."""
        dead = self._jobs.store.document(job).value.get("dead")
        return (
            sum(isinstance(item, dict) and item.get("target") == server for item in dead)
            if isinstance(dead, list)
            else 0
        )

    def warnings(self) -> list[str]:
        """What a person should look at, in sentences; each names the project that it is about, or
        says that it is about all."""
        found = self._missing()
        for run in self.failed()[:MOST_TOLD]:
            whose, times = _whose(run.job.project), run.attempt
            how_often = "once" if times <= 1 else f"{times} times"
            found.append(
                f"the job {run.job.id} of {whose} failed {how_often}, last: {_short(run.error)};"
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

    def _missing(self) -> list[str]:
        jobs, seen = self._jobs, self._jobs.worker_seen
        if jobs.place.temporal is None or jobs.clock() - (seen or jobs.began) <= MISSING:
            return []
        since = "the start" if seen is None else moment(seen)
        return [
            f"no worker has asked for jobs since {since}: nothing runs until one does. Start one"
            " with 'fractalops worker'"
        ]


def _whose(project: str | None) -> str:
    return f"project {project}" if project else "all projects"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN_ERROR else text[:_SHOWN_ERROR] + "…"
