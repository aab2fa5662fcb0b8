"""Jobs: what the platform does by schedule or on request, beside answering.

Invariant: a job is the same thing whoever executes it, the scheduler inside ``fractalops up`` or a
worker on Temporal: the same kinds, the same patience, the same moments, counted in UTC from 1970
on, so that clocks that jump move no schedule. A job's arguments hold no secret: they name the
variable that holds it, in the environment of whoever executes the job.
Source: https://docs.temporal.io/schedule#spec
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from stewards.errors import JobInvalid

SWEEP = "sweep"
BACKFILL = "backfill"
RECLASSIFY = "reclassify"
AUDIT = "audit"
RETENTION = "retention"
CATALOG_PUSH = "catalog-push"
MIRROR = "mirror"
DISCOVER = "discover-assets"

HOUR = 3_600
DAY = 24 * HOUR
SHORTEST_INTERVAL = 0.05
LONGEST_INTERVAL = 366 * DAY
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
# Not every variable may be named: what is ours stays here, whoever asks to send it elsewhere.
_VARIABLE = re.compile(r"(?!FRACTALOPS_)[A-Z][A-Z0-9_]{0,60}_(?:TOKEN|KEY)")
_URL = re.compile(r"https?://[^\s/?#@]+[^\s?#@]*")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d(?:Z|[+-]\d\d:\d\d)?)?")

Json = Mapping[str, Any]
Check = Callable[[Any], bool]


@dataclass(frozen=True)
class Patience:
    """How long an executor waits, in seconds.

    Between two attempts it waits ``first``, then twice as long each time, ``longest`` at most;
    after ``attempts`` (0: no end) the run has failed, which ``status`` shows. An attempt inside the
    platform ends with its process; of one elsewhere, which may be lost, it knows no more than that
    it may last ``limit``, and is taken for dead when it has said nothing for ``silence``.
    """

    first: float = 5.0
    longest: float = 300.0
    attempts: int = 0
    limit: float = DAY
    silence: float = 30.0

    def wait(self, failures: int) -> float:
        """Seconds before the next attempt, after so many failed ones."""
        return float(min(self.first * 2 ** min(failures - 1, 32), self.longest))

    def is_over(self, failures: int) -> bool:
        """Whether there is no other attempt."""
        return bool(self.attempts) and failures >= self.attempts


@dataclass(frozen=True)
class Kind:
    """A kind of job. ``of_project`` tells whether it has a project (``None``: it may), ``labelled``
    whether a project may have several of it; ``arguments`` says by name what is taken, and
    ``needed`` what must be there. ``every`` is the interval (seconds) of the schedule that is there
    without being asked for, 0 for none."""

    name: str
    what: str
    of_project: bool | None
    patience: Patience = Patience()
    arguments: Mapping[str, Check] = field(default_factory=dict)
    needed: frozenset[str] = frozenset()
    labelled: bool = False
    every: float = 0


def _text(pattern: re.Pattern[str]) -> Check:
    return lambda value: (
        isinstance(value, str) and len(value) <= 2_000 and bool(pattern.fullmatch(value))
    )


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_batch(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


# Asked again after a failure, but not for ever: a person is told.
_MAINTENANCE = Patience(first=30.0, longest=HOUR, attempts=5)

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            Kind(SWEEP, "read new facts and propose what they show", of_project=True, every=5),
            Kind(
                BACKFILL,
                "take in what PostHog or GlitchTip holds already",
                of_project=True,
                patience=Patience(first=30.0, longest=HOUR, attempts=10),
                arguments={
                    "source": _text(re.compile(r"posthog|glitchtip")),
                    "url": _text(_URL),
                    "of": _text(re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")),
                    "since": _text(_MOMENT),
                    "token_env": _text(_VARIABLE),
                },
                needed=frozenset({"source", "url", "of", "since", "token_env"}),
                labelled=True,
            ),
            Kind(
                RECLASSIFY,
                "classify stored facts again, by the rules as they stand",
                of_project=None,
                patience=_MAINTENANCE,
                arguments={"since": _is_batch},
            ),
            Kind(
                AUDIT,
                "compare graph, log, evidence and facts with the journal",
                of_project=False,
                patience=_MAINTENANCE,
                every=DAY,
            ),
            Kind(
                RETENTION,
                "erase the payloads and drop the facts that are too old",
                of_project=False,
                patience=_MAINTENANCE,
                every=HOUR,
            ),
            Kind(
                CATALOG_PUSH,
                "tell DataHub what changed in the catalog",
                of_project=None,
                patience=_MAINTENANCE,
                arguments={
                    "server": _text(_URL),
                    "token_env": _text(_VARIABLE),
                    "env": _text(re.compile(r"[A-Z][A-Z0-9_]{0,30}")),
                    "platform_instance": _text(re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")),
                    "public_url": _text(_URL),
                    "again": _is_flag,
                    "whole": _is_flag,
                },
                needed=frozenset({"server"}),
                labelled=True,
            ),
            Kind(
                MIRROR,
                "complete the mirror of the proof log and compare it with the journal",
                of_project=False,
                patience=_MAINTENANCE,
                every=HOUR,
            ),
            Kind(
                DISCOVER,
                "look round for machines, state how assets were found and propose new ones",
                of_project=False,
                patience=_MAINTENANCE,
                every=HOUR,
            ),
        )
    }
)


@dataclass(frozen=True)
class Job:
    """One job: of a kind, of a project where it has one, with its arguments; ``label`` tells those
    of the same kind and project apart. Raises :class:`JobInvalid`, which says what is wrong."""

    kind: str
    project: str | None = None
    label: str = ""
    arguments: Json = field(default_factory=dict)

    def __post_init__(self) -> None:
        kind = KINDS.get(self.kind)
        if kind is None:
            raise JobInvalid(
                f"there is no job {self.kind!r}; there are: {', '.join(sorted(KINDS))}"
            )
        if kind.of_project is not None and kind.of_project != (self.project is not None):
            wanted = "is a project's: name it" if kind.of_project else "is no project's: name none"
            raise JobInvalid(f"a job {self.kind} {wanted}")
        if self.label and not kind.labelled:
            raise JobInvalid(f"a job {self.kind} takes no label")
        for name in (self.project, self.label):
            if name and not _SLUG.fullmatch(name):
                raise JobInvalid(
                    f"{name!r} is no name: small letters, digits and hyphens, up to 63"
                )
        self._check_arguments(kind)

    def _check_arguments(self, kind: Kind) -> None:
        missing = sorted(kind.needed - set(self.arguments))
        if missing:
            raise JobInvalid(f"a job {self.kind} needs {', '.join(missing)}")
        for name, value in self.arguments.items():
            check = kind.arguments.get(name)
            if check is None:
                taken = ", ".join(sorted(kind.arguments)) or "none"
                raise JobInvalid(f"a job {self.kind} has no argument {name!r}; it takes: {taken}")
            if not check(value):
                raise JobInvalid(f"{name} of a job {self.kind} can't be {value!r}")

    @property
    def id(self) -> str:
        """What it is known by: ``sweep:shop``, ``audit``, ``backfill:shop:old``."""
        label = f":{self.label}" if self.label else ""
        return f"{self.kind}:{self.project or ''}{label}".rstrip(":")

    @property
    def patience(self) -> Patience:
        return KINDS[self.kind].patience


@dataclass(frozen=True)
class Schedule:
    """When a job runs: every so many seconds, ``offset`` seconds after the multiples of that, so
    that 86,400 and 10,800 is every day at three o'clock, UTC. Raises :class:`JobInvalid`."""

    job: Job
    every: float
    offset: float = 0
    paused: bool = False

    def __post_init__(self) -> None:
        if not SHORTEST_INTERVAL <= self.every <= LONGEST_INTERVAL:
            raise JobInvalid(
                f"{self.every:g} is no interval: seconds, {SHORTEST_INTERVAL} to {LONGEST_INTERVAL}"
            )
        if not 0 <= self.offset < self.every:
            raise JobInvalid(
                f"an offset of {self.offset:g} seconds isn't within the interval, {self.every:g}"
            )

    def next_after(self, moment: float) -> float:
        """The first of its moments after this one (both seconds since 1970)."""
        return ((moment - self.offset) // self.every + 1) * self.every + self.offset


def usual_schedule(job: Job, every: float = 0) -> Schedule:
    """The schedule that a job has unless another one is set. Jobs with the same interval don't
    begin together: the offset follows from the job's id."""
    interval = every or KINDS[job.kind].every
    return Schedule(job, interval, zlib.crc32(job.id.encode()) % interval)
