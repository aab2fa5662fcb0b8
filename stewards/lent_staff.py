"""The stewards of a platform that runs elsewhere, at work here.

Invariant: a steward acts with its own token, which the platform lends and which ends with the
platform's process: where that is another one than before, every token is borrowed anew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from http import HTTPStatus

from proofs.genesis import steward_slug
from stewards.errors import GateRefused, UnknownSteward
from stewards.jobs import SWEEP
from stewards.loop import TelemetrySteward
from stewards.outcome import Outcome
from stewards.platform_client import PlatformClient, WantedJobs
from stewards.staff import Assignment, Staff


class LentStaff:
    """One steward for each project whose sweeps are wanted; ``hire`` makes one. Any thread may
    call."""

    def __init__(
        self, platform: PlatformClient, hire: Callable[[Assignment], TelemetrySteward]
    ) -> None:
        self._platform = platform
        self._lock = threading.Lock()
        self._process = ""
        self._projects: frozenset[str] = frozenset()
        self._tokens: dict[str, str] = {}
        self._changed: dict[str, int] = {}
        self._staff = Staff(self._assignments, hire)

    def close(self) -> None:
        self._staff.close()

    def told(self, wanted: WantedJobs) -> None:
        """Make the staff that of what is wanted now. Raises as the platform's client does."""
        process = wanted.token.rpartition(".")[0]
        jobs = (each.schedule.job for each in wanted.schedules)
        projects = frozenset(job.project for job in jobs if job.kind == SWEEP and job.project)
        with self._lock:
            self._changed.update(wanted.changed)
            if (process, projects) == (self._process, self._projects):
                return
            if process != self._process:
                self._tokens.clear()
            self._projects = projects
        self._staff.gather()
        with self._lock:
            # Only now: who couldn't borrow all of them does so the next time.
            self._process = process

    def sweep(self, project: str, stopping: Callable[[], bool]) -> Outcome:
        """As :meth:`Staff.sweep`, after what changed under the steward is to be read again."""
        with self._lock:
            known = project in self._projects
            since = self._changed.pop(project, None)
        if not known:
            self._borrow(project)
        if since is not None:
            self._staff.read_again(project, since)
            self._platform.will_be_read(steward_slug(project), since)
        return self._staff.sweep(project, stopping)

    def _borrow(self, project: str) -> None:
        """Hire the steward of a project that was swept before it was heard of here: another worker
        may have been told first. Raises :class:`UnknownSteward` where there is none."""
        if self._token(project) is None:
            raise UnknownSteward(f"project {project} has no steward (any more)")
        with self._lock:
            self._projects |= {project}
        self._staff.gather()

    def _assignments(self) -> list[Assignment]:
        with self._lock:
            projects = sorted(self._projects)
        found = ((project, self._token(project)) for project in projects)
        return [
            Assignment(steward_slug(project), project, token) for project, token in found if token
        ]

    def _token(self, project: str) -> str | None:
        """The token of the project's steward; ``None`` where the platform knows of none."""
        with self._lock:
            token = self._tokens.get(project)
        if token is None:
            try:
                token = self._platform.steward_token(steward_slug(project))
            except GateRefused as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    raise
                return None
            with self._lock:
                self._tokens[project] = token
        return token
