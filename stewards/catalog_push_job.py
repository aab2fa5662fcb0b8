"""The job ``catalog-push``: a DataHub is told what changed in the catalog.

Invariant: what a push remembers is kept by the platform, as what the job remembers, so that another
attempt goes on where this one ended, in another process too. The token of DataHub is looked up
where the job is executed, and is sent to the named server alone.
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

_OPTIONS = ("env", "platform_instance")


class CatalogPush:
    """Pushes what the operator of ``token`` may read of the platform at ``url``. ``secret(name)``
    is the value of a variable, ``None`` where it isn't set."""

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
        options = {name: job.arguments[name] for name in _OPTIONS if name in job.arguments}
        if job.project is not None:
            options["projects"] = {"allow": [f"^{job.project}$"]}
        remembered = _Remembered(self._platform, job.id)
        return push(
            Source(self._url, self._token, options),
            target,
            load=remembered.load,
            save=remembered.save,
            life=Life(stopping=pulse.stopping, sleep=self._sleep),
            again=bool(job.arguments.get("again")),
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
        return found.value if found.version else None

    def save(self, document: Mapping[str, Any]) -> None:
        self._version = self._platform.keep_document(self._job, document, after=self._version)
