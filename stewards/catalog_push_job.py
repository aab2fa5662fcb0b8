"""The job ``catalog-push``: a DataHub is told what changed in the catalog.

Invariant: what a push remembers is kept by the platform, as what the job remembers, so that another
attempt goes on where this one ended, in another process too. The token of DataHub is looked up
where the job is executed, and is sent to the named server alone. DataHub is told what everybody in
the organisation may read, never what a restricted project says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from stewards.activities import Outcome, Pulse
from stewards.datahub_push import Life, Pushed, Source, Target, push
from stewards.errors import JobRefused, JobStopped
from stewards.heartbeat import while_alive
from stewards.jobs import Job
from stewards.platform_client import PlatformClient

_OPTIONS = ("env", "platform_instance", "public_url")


class CatalogPush:
    """Pushes the catalog of the platform at ``url``, which ``token`` reads. ``secret(name)`` is the
    value of a variable, ``None`` where it isn't set."""

    def __init__(
        self,
        platform: PlatformClient,
        url: str,
        token: str,
        secret: Callable[[str], str | None],
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._platform = platform
        self._url = url
        self._token = token
        self._secret = secret
        self._sleep = sleep

    def __call__(self, job: Job, pulse: Pulse) -> Outcome:
        pushed = while_alive(lambda: self._push(job, pulse), pulse, leave=False)
        if not pushed.finished:
            raise JobStopped("told to stop; what DataHub was told is kept, and it goes on there")
        return asdict(pushed)

    def _push(self, job: Job, pulse: Pulse) -> Pushed:
        target = Target(job.arguments["server"], self._datahub_token(job))
        remembered = _Remembered(self._platform, job.id)
        options = {name: job.arguments[name] for name in _OPTIONS if name in job.arguments}
        options["restricted"] = False
        if job.project is not None:
            self._must_be_open(job.project)
            options["projects"] = {"allow": [f"^{job.project}$"]}
        return push(
            Source(self._url, self._token, options),
            target,
            load=remembered.load,
            save=remembered.save,
            life=Life(stopping=pulse.stopping, sleep=self._sleep),
            again=bool(job.arguments.get("again")),
            whole=bool(job.arguments.get("whole")),
        )

    def _must_be_open(self, project: str) -> None:
        """Raises :class:`JobRefused` for a restricted project."""
        if project in self._platform.restricted_projects():
            raise JobRefused(
                f"the project {project} is restricted, and DataHub is told of none that is: remove"
                f" the schedule, if there is one ('fractalops schedules list')"
            )

    def _datahub_token(self, job: Job) -> str | None:
        name = job.arguments.get("token_env")
        if name is None:
            return None
        token = self._secret(name)
        if not token:
            raise JobRefused(
                f"set the variable {name} to a token of {job.arguments['server']} where jobs are"
                " executed, and start that again"
            )
        return token


class _Remembered:
    """What the job remembers, read and kept by one push."""

    def __init__(self, platform: PlatformClient, job: str) -> None:
        self._platform = platform
        self._job = job
        self._version = 0

    def load(self) -> Mapping[str, Any] | None:
        found = self._platform.document(self._job)
        self._version = found.version
        # One that was emptied by hand is none.
        return found.value or None

    def save(self, document: Mapping[str, Any]) -> None:
        self._version = self._platform.keep_document(self._job, document, after=self._version)
