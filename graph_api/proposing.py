"""Proposals that routes make for their caller: of a project, a principal, a key.

Invariant: they go through the same gate as everybody's, in the caller's name, and the caller reads
what they changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graph_api.auth import Caller
from graph_api.problems import Problem
from graph_api.proposal_json import problem_of, proposal_json
from proofs.errors import Invalid, ProofError
from proofs.ledger import Ledger
from proofs.proposal import ProposalView
from proofs.submission import Request


class Proposing:
    """``published()`` is how many log entries are published, ``committed(principal, head)`` is told
    what a caller changed last."""

    def __init__(
        self,
        ledger: Ledger,
        published: Callable[[], int],
        committed: Callable[[str, int], None],
    ) -> None:
        self._ledger = ledger
        self._published = published
        self._committed = committed

    def submit(self, caller: Caller, request: Request) -> ProposalView | None:
        """The proposal, ``None`` where the graph says so already. Raises :class:`Problem`."""
        try:
            view = self._ledger.submit(caller.principal, request)
        except Invalid as error:
            raise Problem(
                422,
                "shapes-violated",
                "The shapes refuse it",
                str(error),
                extra=self.shown(self._ledger.proposal(error.proposal)),
            ) from error
        except ProofError as error:
            raise problem_of(error) from error
        if view is not None:
            self._committed(caller.principal, view.head)
        return view

    def shown(self, view: ProposalView) -> dict[str, Any]:
        """The proposal as every route shows it."""
        return proposal_json(view, self._published())
