"""What a verification comes to.

Invariant: there are four outcomes, and each says how far the evidence carries:

- ``INVALID``: a signature, hash, proof or format fails.
- ``DIVERGED``: everything is signed by the log's key, but contradicts another checkpoint under the
  same key: two views of one log exist.
- ``UNANCHORED``: all is well, but nobody outside the log vouches for the checkpoint, or the log's
  key was taken from the bundle itself.
- ``WITNESSED``: all is well, and a configured witness has cosigned a checkpoint that covers the
  entry.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple


class Status(StrEnum):
    """What a verification can come to."""

    INVALID = "INVALID"
    DIVERGED = "DIVERGED"
    UNANCHORED = "UNANCHORED"
    WITNESSED = "WITNESSED"


class Check(NamedTuple):
    """One thing that was looked at; ``ok`` is None where it could not be looked at."""

    name: str
    ok: bool | None
    detail: str


@dataclass(frozen=True)
class Verdict:
    """The outcome, every check in order, and what the entry says, for printing."""

    status: Status
    checks: tuple[Check, ...]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def reasons(self) -> tuple[str, ...]:
        """What failed, or what keeps the verdict from being better."""
        failed = tuple(f"{c.name}: {c.detail}" for c in self.checks if c.ok is False)
        return failed or tuple(f"{c.name}: {c.detail}" for c in self.checks if c.ok is None)
