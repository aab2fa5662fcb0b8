"""The activities of jobs: what each kind asks of the platform, and what is made of the answer.

Invariant: each may be ended anywhere and begun again: what it asks is asked twice without harm, and
what it has done is found in the platform. While the platform takes its time, the pulse goes on
beating; an activity that is told to stop leaves its question unanswered and says so.

Findings of an audit, and a mirror that contradicts the journal, fail the job: they are for a person
to look at, and ``status`` shows them until a later run finds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stewards.activities import Activities, Activity, Outcome, Pulse
from stewards.errors import DraftRefused, JobFailed, JobRefused, JobStopped, UnknownSteward
from stewards.heartbeat import while_alive
from stewards.jobs import AUDIT, DISCOVER, MIRROR, RECLASSIFY, RETENTION, SWEEP, Job
from stewards.outcome import Outcome as Swept
from stewards.platform_client import PlatformClient

_SHOWN_FINDINGS = 3
_SHOWN_TEXT = 300

Sweeping = Callable[[str, Callable[[], bool]], Swept]
"""``sweep(project, stopping)``: one cycle of the project's steward."""


def job_activities(
    platform: PlatformClient, sweep: Sweeping, others: Mapping[str, Activity]
) -> Activities:
    """The activities of every kind; ``others`` are those that reach beyond the platform
    (:mod:`stewards.backfill_job`, :mod:`stewards.catalog_push_job`)."""
    asking = _Asking(platform)
    return Activities(
        {
            SWEEP: lambda job, pulse: _swept(sweep, job, pulse),
            AUDIT: asking.audit,
            RETENTION: asking.retain,
            MIRROR: asking.mirror,
            DISCOVER: asking.discover,
            RECLASSIFY: asking.reclassify,
            **others,
        }
    )


def _swept(sweep: Sweeping, job: Job, pulse: Pulse) -> Outcome:
    project = job.project
    assert project is not None
    try:
        found = while_alive(lambda: sweep(project, pulse.stopping), pulse, leave=False)
    except UnknownSteward as error:
        raise JobRefused(str(error)) from error
    if found.state == "failed" and pulse.stopping():
        # The platform may be ending, and be what is told to stop.
        raise JobStopped(f"told to stop; the next sweep goes on there ({found.reason})")
    if found.state in ("failed", "refused"):
        raise JobFailed(found.reason)
    return found.to_json()


class _Asking:
    """The jobs that are one question to the platform."""

    def __init__(self, platform: PlatformClient) -> None:
        self._platform = platform

    def audit(self, job: Job, pulse: Pulse) -> Outcome:
        report = while_alive(self._platform.audit, pulse)
        findings = [
            f"{check.get('name')}: {finding}"
            for check in report.get("checks", [])
            if not check.get("ok")
            for finding in check.get("findings", [])
        ]
        if not report.get("ok") or findings:
            raise JobRefused(
                f"the audit found something: {_some(findings)}. Look at all of it with 'fractalops"
                " proofs audit'; docs/proofs.md says what can be done"
            )
        return {"ok": True, "head": report.get("head"), "quads": report.get("quads")}

    def retain(self, job: Job, pulse: Pulse) -> Outcome:
        return while_alive(self._platform.retain, pulse)

    def mirror(self, job: Job, pulse: Pulse) -> Outcome:
        found = while_alive(self._platform.mirror, pulse)
        problems = [
            f"{folder.get('folder')}: {folder['problem']}"
            for folder in found.get("folders", [])
            if folder.get("problem")
        ]
        if problems:
            # A folder may come back; what contradicts the journal is refused again each time.
            raise JobFailed(f"the log isn't whole everywhere: {_some(problems)}")
        return found

    def discover(self, job: Job, pulse: Pulse) -> Outcome:
        # What doesn't answer is told of and looked at again next time: it fails no look.
        return while_alive(self._platform.discover, pulse)

    def reclassify(self, job: Job, pulse: Pulse) -> Outcome:
        since = int(job.arguments.get("since", 0))
        try:
            found = while_alive(lambda: self._platform.reclassify(job.project, since), pulse)
        except DraftRefused as error:
            raise JobRefused(str(error)) from error
        return {name: found.get(name) for name in ("rules", "looked_at", "changed")}


def _some(texts: list[str]) -> str:
    shown = "; ".join(text[:_SHOWN_TEXT] for text in texts[:_SHOWN_FINDINGS])
    left = len(texts) - _SHOWN_FINDINGS
    return (shown or "nothing is named") + (f"; and {left} more" if left > 0 else "")
