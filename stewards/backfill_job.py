"""The job ``backfill``: what PostHog or GlitchTip holds already becomes facts of a project.

Invariant: the place behind what was acknowledged is kept by the platform, as what the job
remembers, so that another attempt goes on there, in another process too, and the next run goes on
where this one ended. A job that is described anew begins anew. The token is looked up where the job
is executed, and is sent to the named server alone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from ingest.backfill import BroughtIn, Step, bring_in, glitchtip, posthog, utc
from ingest.delivery import Delivered, deliver
from ingest.errors import HistoryError, PeerRefused, PeerUnavailable
from ingest.history_records import Record, Unreadable
from ingest.patience import Peer
from stewards.activities import Outcome, Pulse
from stewards.errors import JobFailed, JobRefused, JobStopped
from stewards.heartbeat import while_alive
from stewards.jobs import Job
from stewards.platform_client import PlatformClient

Stopping = Callable[[], bool]

LOGGER = logging.getLogger(__name__)

PATIENCE = 240.0
"""Seconds that one request is repeated for, before the attempt counts as failed."""
_NAMED = 20
"""Records of an attempt that are named in the log when they can't be taken in."""
_LOOK = 1.0


class Backfill:
    """Brings in what the job names, for the platform at ``url``. ``secret(name)`` is the value of a
    variable, ``None`` where it isn't set; ``clock`` tells the time, with its zone."""

    def __init__(
        self,
        platform: PlatformClient,
        url: str,
        secret: Callable[[str], str | None],
        clock: Callable[[], datetime],
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._platform = platform
        self._url = url
        self._secret = secret
        self._clock = clock
        self._sleep = sleep

    def __call__(self, job: Job, pulse: Pulse) -> Outcome:
        return while_alive(lambda: self._bring_in(job, pulse.stopping), pulse, leave=False)

    def _bring_in(self, job: Job, stopping: Stopping) -> Outcome:
        assert job.project is not None
        named = job.arguments
        token = self._secret(named["token_env"])
        if not token:
            raise JobRefused(
                f"set the variable {named['token_env']} to a token of {named['url']} where jobs are"
                " executed, and start that again"
            )
        if named["source"] == "posthog" and not named["of"].isdecimal():
            raise JobRefused("the project's number in PostHog is a number, as in its settings")
        kept = self._platform.document(job.id)
        described = {name: named[name] for name in ("source", "url", "of", "since")}
        place = kept.value.get("place") if kept.value.get("described") == described else None
        version = kept.version

        def keep(step: Step, so_far: BroughtIn) -> None:
            nonlocal version
            value = {"described": described, "place": dict(step.place)}
            version = self._platform.keep_document(job.id, value, after=version)
            _go_on(stopping)

        told = iter(range(_NAMED))

        def tell(item: Unreadable) -> None:
            # What was refused may name persons, so it stays on this machine.
            if next(told, None) is not None:
                LOGGER.warning("job %s: %d: %s", job.id, item.place, item.reason)

        try:
            with (
                self._peer(named["url"], token, stopping) as source,
                self._peer(
                    self._url, self._platform.lend_key(job.project), stopping, proxies=False
                ) as receivers,
            ):
                steps = self._steps(source, named, place)
                found = bring_in(steps, lambda group: _delivered(receivers, group), keep, tell)
        except PeerUnavailable as error:
            raise JobFailed(error.detail) from error
        except HistoryError as error:
            raise JobRefused(error.detail) from error
        return {"taken_in": found.taken_in, "not_taken_in": found.not_taken_in}

    def _steps(self, source: Peer, named: Any, place: Any) -> Iterator[Step]:
        since, now = utc(datetime.fromisoformat(named["since"])), self._clock()
        if named["source"] == "posthog":
            return posthog(source, named["of"], place, since, now)
        return glitchtip(source, named["of"], place, since, now)

    def _peer(self, url: str, bearer: str, stopping: Stopping, *, proxies: bool = True) -> Peer:
        def rest(seconds: float) -> None:
            while seconds > 0:
                _go_on(stopping)
                self._sleep(min(seconds, _LOOK))
                seconds -= _LOOK

        return Peer(url, bearer, sleep=rest, clock=self._clock, proxies=proxies, patience=PATIENCE)


def _go_on(stopping: Stopping) -> None:
    if stopping():
        raise JobStopped("told to stop; what was acknowledged is kept, and it goes on there")


def _delivered(receivers: Peer, group: Sequence[Record | Unreadable]) -> Delivered:
    try:
        return deliver(receivers, group)
    except PeerRefused as error:
        # The key was lent by a process that is gone, say: another attempt borrows another one.
        raise JobFailed(error.detail) from error
