"""Signs what a steward proposes, with the key of the place where it runs.

Invariant: what is signed are the canonical lines that the gate will read, on the head that they
were drafted on. The key is asked for each time, since people retire keys and enrol others while a
steward is at work; where none holds, its proposals go unsigned, which the platform shows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from ontology.terms import canonical_quad, from_nquads, line
from proofs.checkpoint import SignerKey
from proofs.signed_proposal import proposal_statement, sign_proposal


class ProposalSigner:
    """Signs as one principal (its IRI) for one log (its key's label); ``key()`` is the key that
    holds now, ``None`` while there is none."""

    def __init__(self, principal: str, log: str, key: Callable[[], SignerKey | None]) -> None:
        self._principal = principal
        self._log = log
        self._key = key

    def sign(
        self,
        project: str,
        rationale: str,
        additions_nquads: str,
        removals_nquads: str,
        evidence: Sequence[str],
        base: int | None,
        hold: str,
    ) -> dict[str, Any] | None:
        """The envelope that goes with this proposal; ``None`` where it goes unsigned."""
        key = self._key()
        if key is None or base is None:
            return None
        statement = proposal_statement(
            log=self._log,
            project=project,
            principal=self._principal,
            base=base,
            rationale=rationale,
            hold=hold,
            evidence=evidence,
            additions=_lines(additions_nquads),
            removals=_lines(removals_nquads),
        )
        envelope: dict[str, Any] = json.loads(sign_proposal(statement, key))
        return envelope


def _lines(nquads: str) -> list[bytes]:
    return [line(canonical_quad(quad)) for quad in from_nquads(nquads.encode())]
