"""Why tests do not pass, as written down in ``reasons.toml``.

Invariant: every finding that is no plain pass has exactly one reason, for its outcome, and every
reason has a finding: a reason that outlived its test is as much an error as a missing one.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.cases import Finding, Outcome

REASONS = Path(__file__).with_name("reasons.toml")


@dataclass(frozen=True)
class Reason:
    """Why tests, or all tests of groups (``suite/group``), have this outcome."""

    outcome: Outcome
    why: str
    tests: frozenset[str]
    groups: frozenset[str]


class Reasons:
    """All reasons, by test and by group."""

    def __init__(self, reasons: Sequence[Reason]) -> None:
        self._by_test: dict[tuple[str, Outcome], str] = {}
        self._by_group: dict[tuple[str, Outcome], str] = {}
        for reason in reasons:
            for keys, table in (
                (reason.tests, self._by_test),
                (reason.groups, self._by_group),
            ):
                for key in keys:
                    if (key, reason.outcome) in table:
                        raise ValueError(f"{key} has two reasons to be {reason.outcome}")
                    table[key, reason.outcome] = reason.why

    @classmethod
    def read(cls, path: Path = REASONS) -> Reasons:
        """Raises :class:`ValueError` for a file that is not as it should be."""
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        return cls(
            [
                Reason(
                    Outcome(item["outcome"]),
                    " ".join(item["why"].split()),
                    frozenset(item.get("tests", ())),
                    frozenset(item.get("groups", ())),
                )
                for item in document["reason"]
            ]
        )

    def why(self, finding: Finding) -> str | None:
        """The reason of a finding, its own before its group's."""
        case, outcome = finding.case, finding.outcome
        own = self._by_test.get((case.iri, outcome))
        return own or self._by_group.get((_group(finding), outcome))

    def unexplained(self, findings: Sequence[Finding]) -> list[Finding]:
        """What is no plain pass and has no reason."""
        return [
            finding
            for finding in findings
            if finding.outcome is not Outcome.PASSED and self.why(finding) is None
        ]

    def outlived(self, findings: Sequence[Finding]) -> list[str]:
        """Tests and groups that have a reason for an outcome which they no longer have."""
        seen = {(finding.case.iri, finding.outcome) for finding in findings}
        seen_groups = {
            (_group(finding), finding.outcome)
            for finding in findings
            if (finding.case.iri, finding.outcome) not in self._by_test
        }
        left = [key for key in self._by_test if key not in seen]
        left += [key for key in self._by_group if key not in seen_groups]
        return sorted(f"{name} is no longer {outcome}" for name, outcome in left)


def _group(finding: Finding) -> str:
    return f"{finding.case.suite}/{finding.case.group}"
