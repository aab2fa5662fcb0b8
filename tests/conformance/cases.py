"""One test of a public suite, and what became of it here.

Invariant: every test of a suite's manifests has exactly one finding. What a finding's note says is
what was seen; why that is so is written down by a person, in ``reasons.toml``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """What became of a test.

    ``normalised`` is a pass in which only the lexical form of literals is another than expected:
    the one that the store gives every literal of that value. ``inapplicable`` is a test of
    something that is refused by design, where the refusal itself was seen.
    """

    PASSED = "passed"
    NORMALISED = "normalised"
    FAILED = "failed"
    INAPPLICABLE = "inapplicable"
    UNTESTED = "untested"


@dataclass(frozen=True, slots=True)
class Case:
    """A test: the suite and the group it belongs to, its IRI and its name there."""

    suite: str
    group: str
    iri: str
    name: str


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of a case, and what was seen that made it so."""

    case: Case
    outcome: Outcome
    note: str = ""


class Inapplicable(Exception):
    """The test asks for what is refused by design, and it was refused."""


class Mismatch(Exception):
    """The answer is not the expected one."""


class OnlyNormalised(Exception):
    """The answer is the expected one once literals are in the store's form."""


def judged(case: Case, test: Callable[[], None]) -> Finding:
    """The finding of a test that says by what it raises how it ended."""
    try:
        test()
    except Inapplicable as reason:
        return Finding(case, Outcome.INAPPLICABLE, str(reason))
    except OnlyNormalised as difference:
        return Finding(case, Outcome.NORMALISED, str(difference))
    except Mismatch as mismatch:
        return Finding(case, Outcome.FAILED, str(mismatch))
    return Finding(case, Outcome.PASSED)
