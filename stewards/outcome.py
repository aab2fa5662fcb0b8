"""What one cycle of a steward came to.

Invariant: nothing is dropped silently: whatever was seen and not proposed is in ``set_aside``, with
its reason and how often, and the sentence that people read names it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

State = Literal["idle", "unchanged", "proposed", "refused", "failed"]


@dataclass(frozen=True)
class Outcome:
    """``state`` is ``idle`` (no new facts), ``unchanged`` (nothing that the graph doesn't hold),
    ``proposed``, ``refused`` (the gate said no) or ``failed`` (no answer to act on).

    ``proposals`` are the ids submitted, of which ``awaiting`` wait for a decision; ``quads`` counts
    what they add; ``reason`` says why it was refused or failed.
    """

    state: State
    watermark: int
    facts: int = 0
    proposals: tuple[str, ...] = ()
    awaiting: int = 0
    quads: int = 0
    set_aside: tuple[tuple[str, int], ...] = ()
    reason: str = ""

    def __str__(self) -> str:
        if self.state == "idle":
            return "no new facts"
        parts = [f"read {_count(self.facts, 'fact')}"]
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


@dataclass
class Tally:
    """Counts up while a cycle runs."""

    facts: int = 0
    quads: int = 0
    awaiting: int = 0
    proposals: list[str] = field(default_factory=list)
    set_aside: Counter[str] = field(default_factory=Counter)

    def outcome(
        self, watermark: int, pages: int, reason: str = "", state: State = "idle"
    ) -> Outcome:
        """The outcome of the cycle so far; ``state`` where it isn't what the counts say."""
        if state == "idle" and (pages or self.proposals):
            state = "proposed" if self.proposals else "unchanged"
        return Outcome(
            state,
            watermark,
            self.facts,
            tuple(self.proposals),
            self.awaiting,
            self.quads,
            tuple(sorted(self.set_aside.items())),
            reason,
        )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
