"""The schedules that are wanted: the usual ones of every project, overlaid by those people set.

Invariant: a pure function of the projects and of what was set, so that whoever executes jobs, and
whoever asks, sees the same list in the same order. What was set for a project that isn't there is
kept and not wanted; it is wanted again once the project is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from stewards.jobs import (
    AUDIT,
    DISCOVER,
    MIRROR,
    RETENTION,
    SWEEP,
    Job,
    Schedule,
    usual_schedule,
)

FEW = 25
"""So many projects are looked at as often as it is usual."""
MOST_LOOKS = 5.0


@dataclass(frozen=True)
class Wanted:
    """A schedule, and whether somebody ``set`` it or it is there without being asked for."""

    schedule: Schedule
    set: bool


def wanted_schedules(
    projects: Collection[str],
    stewarded: Iterable[str],
    given: Iterable[Schedule],
    *,
    sweep_every: float,
    mirrored: bool,
    looking: bool = False,
) -> list[Wanted]:
    """The schedules by the id of their job.

    ``projects`` are those there are, ``stewarded`` those of them that have a steward, ``given`` the
    schedules that people set, ``sweep_every`` the usual seconds between two sweeps of a project,
    more where there are many;
    ``mirrored`` tells whether the proof log has a mirror, ``looking`` whether there is a file of
    machines to look at.
    """
    swept = list(stewarded)
    every = _usual_interval(sweep_every, len(swept))
    usual = [usual_schedule(Job(SWEEP, project), every) for project in swept]
    kinds = (AUDIT, RETENTION, *([MIRROR] * mirrored), *([DISCOVER] * looking))
    usual += [usual_schedule(Job(kind)) for kind in kinds]
    found = {schedule.job.id: Wanted(schedule, set=False) for schedule in usual}
    for schedule in given:
        if schedule.job.project is None or schedule.job.project in projects:
            found[schedule.job.id] = Wanted(schedule, set=True)
    return [found[job] for job in sorted(found)]


def _usual_interval(every: float, projects: int) -> float:
    """Doubled until no more than ``MOST_LOOKS`` projects are looked at in a second. Facts and
    decisions wake them at once in any case."""
    while projects > FEW and projects / every > MOST_LOOKS:
        every *= 2
    return every
