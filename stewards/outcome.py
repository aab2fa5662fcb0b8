"""What one cycle of a steward came to.

Invariant: nothing is dropped silently: whatever was seen and not proposed is in ``set_aside``, with
its reason and how often, and the sentence that people read names it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from stewards.jobs import SWEEP, Job

MOST_NAMED = 50
"""So many proposals of one cycle are named where it is told of."""

IDLE = "idle"
State = Literal["idle", "decided", "unchanged", "proposed", "refused", "failed"]


@dataclass(frozen=True)
class Outcome:
    """``state`` is ``idle`` (no new facts), ``decided`` (none, but what waited was decided on),
    ``unchanged`` (nothing that the graph doesn't hold), ``proposed``, ``refused`` (the gate
    said no) or ``failed`` (no answer to act on).

    ``proposals`` are the ids submitted, of which ``awaiting`` wait for a decision; ``quads`` counts
    what they add, ``decided`` the earlier proposals that a person decided on; ``reason`` says why
    it was refused or failed.
    """

    state: State
    watermark: int
    facts: int = 0
    proposals: tuple[str, ...] = ()
    awaiting: int = 0
    quads: int = 0
    set_aside: tuple[tuple[str, int], ...] = ()
    reason: str = ""
    decided: int = 0

    def to_json(self) -> dict[str, Any]:
        """What is told of it as plain data; ``said`` is the sentence for people."""
        return {
            "state": self.state,
            "said": str(self),
            "watermark": self.watermark,
            "facts": self.facts,
            "quads": self.quads,
            "proposals": list(self.proposals[:MOST_NAMED]),
            "awaiting": self.awaiting,
        }

    def __str__(self) -> str:
        if self.state == "idle":
            return "no new facts"
        parts = [f"read {_count(self.facts, 'fact')}"]
        if self.decided:
            parts.append(f"{_count(self.decided, 'proposal')} decided on")
        if self.proposals:
            made = _count(len(self.proposals), "proposal")
            parts.append(f"proposed {_count(self.quads, 'quad')} in {made}")
        if self.awaiting:
            parts.append(f"{_count(self.awaiting, 'proposal')} waiting for a decision")
        if self.state == "unchanged":
            parts.append("nothing that the graph doesn't hold")
        if self.reason:
            parts.append(f"{self.state}: {self.reason}")
        parts += [f"set aside {count}: {reason}" for reason, count in self.set_aside]
        return "; ".join(parts)


def is_no_news(job: Job, attempt: int, outcome: Mapping[str, Any], asked: str) -> bool:
    """Whether a run that came to this is told of nowhere: a sweep that found nothing at its first
    attempt, and that nobody ``asked`` for. Every other run was told of before, so its end is
    waited for."""
    idle = job.kind == SWEEP and outcome.get("state") == IDLE
    return idle and attempt == 1 and not asked


@dataclass
class Tally:
    """Counts up while a cycle runs; :meth:`to_json` and :meth:`of_json` are each other's
    inverse.

    ``open`` are the ids of those that wait for a decision and aren't followed yet.
    """

    pages: int = 0
    facts: int = 0
    quads: int = 0
    awaiting: int = 0
    decided: int = 0
    proposals: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    set_aside: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> Tally:
        return cls(**{**value, "set_aside": Counter(value.get("set_aside", {}))})

    def to_json(self) -> dict[str, Any]:
        return {
            **vars(self),
            "proposals": list(self.proposals),
            "open": list(self.open),
            "set_aside": dict(self.set_aside),
        }

    def outcome(self, watermark: int, reason: str = "", state: State = "idle") -> Outcome:
        """The outcome of the cycle so far; ``state`` where it isn't what the counts say."""
        if state == "idle" and (self.pages or self.proposals):
            state = "proposed" if self.proposals else "unchanged"
        elif state == "idle" and self.decided:
            state = "decided"
        return Outcome(
            state,
            watermark,
            self.facts,
            tuple(self.proposals),
            self.awaiting,
            self.quads,
            tuple(sorted(self.set_aside.items())),
            reason,
            self.decided,
        )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
