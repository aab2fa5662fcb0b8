"""Activities: what executes each kind of job, whoever executes it.

Invariant: an activity may be ended anywhere and begun again, in another process too: what it has
done it finds in the platform, in its checkpoint, or in what its pulse carried over. It reaches the
platform through the HTTP API alone, with the rights of the token it was given. Nothing in here
knows Temporal or the scheduler.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stewards.errors import JobInvalid
from stewards.jobs import Job

Outcome = Mapping[str, Any]


@dataclass(frozen=True)
class Pulse:
    """What ties an activity to its executor, while it runs.

    ``beat(details)`` says that it is alive and how far it came; ``left`` is what the attempt before
    said last, ``None`` if there was none; ``stopping()`` tells whether it is to end soon, and be
    gone on with later. ``attempt`` counts from 1.
    """

    run: str = ""
    attempt: int = 1
    left: Any = None
    beat: Callable[[Any], None] = lambda details: None
    stopping: Callable[[], bool] = lambda: False


Activity = Callable[[Job, Pulse], Outcome]


class Activities:
    """The activity of each kind of job, by its name."""

    def __init__(self, activities: Mapping[str, Activity]) -> None:
        self._activities = dict(activities)

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(self._activities)

    def run(self, job: Job, pulse: Pulse) -> Outcome:
        """Do it; what came of it, as plain data.

        Raises :class:`stewards.errors.JobRefused` where another attempt won't help, any other
        :class:`stewards.errors.StewardError` where one may.
        """
        activity = self._activities.get(job.kind)
        if activity is None:
            raise JobInvalid(f"nothing here executes a job {job.kind}")
        return activity(job, pulse)
