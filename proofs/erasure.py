"""What an erasure of evidence says of itself in the log.

Invariant: the entry names the payloads by their commitments, which say nothing of what was in
them, and is committed before anything is destroyed, so that whoever follows the journal can
finish it. The whole list is a blob of the journal; the entry signs its digest as that of its
report, and the commitments as it does those of any evidence. Nothing of a payload stands in either.
The kind of the entry is ``erasure``; ``docs/proofs.md`` describes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from proofs.predicate import Members

KIND: Final = "erasure"
MAX_COMMITMENTS: Final = 50_000
"""Payloads that one entry erases; more take several."""

_MEMBERS = {"chosen_by", "project", "before", "person", "facts", "commitments"}


@dataclass(frozen=True)
class Erasure:
    """One erasure. ``chosen_by`` is ``batch``, ``project``, ``person`` or ``age``; ``before`` the
    moment (RFC 3339) that the payloads were received before, where that chose them; ``person`` a
    pseudonym; ``facts`` says whether what became of the payloads goes with them."""

    chosen_by: str
    commitments: tuple[str, ...]
    project: str | None = None
    before: str | None = None
    person: str | None = None
    facts: bool = False

    def to_dict(self) -> dict[str, Any]:
        return {
            "chosen_by": self.chosen_by,
            "project": self.project,
            "before": self.before,
            "person": self.person,
            "facts": self.facts,
            "commitments": sorted(self.commitments),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Erasure:
        """Raises :class:`proofs.errors.MalformedStatement`."""
        members = Members(value, _MEMBERS, "an erasure")
        return cls(
            chosen_by=members.text("chosen_by"),
            commitments=tuple(members.texts("commitments")),
            project=members.optional_text("project"),
            before=members.optional_text("before"),
            person=members.optional_text("person"),
            facts=members.boolean("facts"),
        )
