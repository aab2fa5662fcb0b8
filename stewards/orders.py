"""What a workflow is told, and what it tells: plain data, which Temporal keeps as JSON.

Invariant: no secret and no personal data is in here, for Temporal keeps it and shows it to whoever
may look. A field that is added has a default, so that what an older version wrote can be read; none
is renamed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

JOB_WORKFLOW = "fractalops-job"
PERFORM = "perform"
NOTE = "note"
WAKE = "wake"
STATE = "state"
SWEEP_KIND = "sweep"
JOBS_QUEUE = "-jobs"
"""What is added to the name of the task queue for whatever isn't a sweep."""


@dataclass(frozen=True)
class Order:
    """A job, with its patience in seconds as whoever ordered it knew it, and the ``platform`` it is
    for, which the workflow's id begins with. ``run`` is that of the platform's that asked for it,
    empty for one by schedule."""

    platform: str
    kind: str
    project: str | None = None
    label: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    run: str = ""
    first: float = 5.0
    longest: float = 300.0
    attempts: int = 0
    limit: float = 86_400.0
    silence: float = 30.0


@dataclass(frozen=True)
class Attempt:
    """What the activity is told; ``began`` is when its run did, in seconds since 1970."""

    order: Order
    run: str
    began: float


@dataclass(frozen=True)
class Ended:
    """How a run ended, to be noted; ``error`` is empty where it is done."""

    order: Order
    run: str
    began: float
    ended: float
    attempt: int = 1
    outcome: dict[str, Any] | None = None
    error: str = ""


@dataclass(frozen=True)
class Performed:
    """What came of an activity, in which attempt; ``idle`` where nothing did that is worth a
    note."""

    attempt: int
    outcome: dict[str, Any] = field(default_factory=dict)
    idle: bool = False
