"""The decision card: all that somebody needs who decides on a proposal, in one answer.

Invariant: it says of each claim whether stored facts bear it out, and where something could not be
found out it says so instead of leaving it away. What a stranger wrote is quoted harmlessly, nothing
is answered that its reader may not read, and its size and the work for it are bounded.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from pyoxigraph import NamedNode, Quad

from graph_api.auth import Caller
from graph_api.card_claims import Claims, listed
from graph_api.card_order import ordered
from graph_api.card_words import Words
from graph_api.conflicts import concerning
from graph_api.evidence_trace import EvidenceTrace
from graph_api.facts import hidden_projects
from graph_api.harmless import harmless, harmless_rdf
from graph_api.saved_queries import Preview, Unanswered
from ingest.errors import IngestError
from ingest.warehouse import Warehouse, text
from ontology.ids import Ids
from ontology.store import GraphStore
from ontology.terms import Delta, graph_of
from proofs.governance import AUDITOR, OPERATOR
from proofs.ledger import Ledger
from proofs.policy import AUTO, ONE_OPERATOR
from proofs.projections import format_time
from proofs.proposal import AWAITING, ProposalView

LOGGER = logging.getLogger(__name__)

MOST_SENTENCES = 200
MOST_THINGS = 20
MOST_STATEMENTS = 30
"""Of one thing, of those that are there already."""
MOST_SAMPLES = 10
MOST_BATCHES = 64
MOST_PATCH = 64 * 1024
MOST_REASON = 4_000
_SECONDS = 5.0


class DecisionCards:
    """Makes the card of a proposal. Everything here blocks: call it in threads."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        store: GraphStore,
        ids: Ids,
        warehouse: Warehouse,
        trace: EvidenceTrace,
        preview: Preview,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._ids = ids
        self._warehouse = warehouse
        self._trace = trace
        self._preview = preview

    def card(self, view: ProposalView, caller: Caller) -> dict[str, Any]:
        """The card of a proposal that this caller may read.

        Raises :class:`proofs.errors.ProofError` where the journal can't be read."""
        delta = self._ledger.delta_of(view)
        hidden = caller.hidden_graphs
        words = Words(self._store, delta, hidden)
        claims, unread = (None, "") if view.order else self._claims(view, caller)
        quads = [("remove", quad) for quad in _ordered(delta.removals)]
        quads += [("add", quad) for quad in _ordered(delta.additions)]
        patch = harmless_rdf(delta.patch())
        return {
            "why": harmless(view.rationale, MOST_REASON),
            "decision": self._decision(view, caller),
            "order": ordered(view),
            "changes": {
                "words": [
                    {
                        "change": change,
                        "text": words.sentence(quad),
                        "graph": self._graph_name(quad),
                        "claim": claims.mark(quad) if claims and change == "add" else None,
                    }
                    for change, quad in quads[:MOST_SENTENCES]
                ],
                "omitted": max(0, len(quads) - MOST_SENTENCES),
                "patch": patch if len(patch) <= MOST_PATCH else None,
                "things": len({quad.subject for _, quad in quads}),
            },
            "claims": None
            if claims is None
            else dict(Counter(claims.mark(quad) for quad in delta.additions)),
            "conflicts": concerning(self._store, hidden, delta.quads),
            "evidence": self._evidence(view, delta, caller, unread),
            "after": self._after(view, delta, words, caller),
            "queries": self._queries(view, delta, caller),
        }

    def _decision(self, view: ProposalView, caller: Caller) -> dict[str, Any]:
        waits = view.state == AWAITING
        verdict = self._ledger.verdict(view)
        # A wider grant may have come meanwhile: what waits is still decided by somebody.
        needs = ONE_OPERATOR if waits and verdict.requires == AUTO else verdict.requires
        operators = self._ledger.governance.operators()
        approved, missing = self._ledger.approvals(view) if waits else ([], 0)
        may_approve = waits and caller.principal in operators - {view.author, *approved}
        return {
            "waits": waits,
            "needs": needs,
            "because": harmless(verdict.reason, MOST_REASON),
            "you_may": {
                "approve": may_approve,
                "reject": waits and caller.role == OPERATOR,
                "request changes": waits and caller.role == OPERATOR,
                "withdraw": waits and caller.principal == view.author,
            },
            "others_who_may_approve": sorted(
                operators - {view.author, caller.principal, *approved}
            ),
            "approved_by": approved,
            "approvals_missing": missing,
            "time_lock_until": view.time_lock_until if waits else None,
            "expires_at": self._expiry(view),
        }

    def _expiry(self, view: ProposalView) -> str | None:
        """When a waiting proposal expires; one under a time lock doesn't."""
        lifetime = self._ledger.governance.lifetime
        if lifetime is None or view.state != AWAITING or view.time_lock_until:
            return None
        return format_time(datetime.fromisoformat(view.submitted_at) + lifetime)

    def _claims(self, view: ProposalView, caller: Caller) -> tuple[Claims | None, str]:
        """The claims, or why they could not be held against the facts."""
        project, hidden = view.project or "", hidden_projects(caller)
        try:
            return Claims(self._warehouse, self._ids, project, view.evidence, hidden), ""
        except IngestError as error:
            LOGGER.warning("claims of %s could not be checked: %s", view.id, error)
            return None, error.detail

    def _evidence(
        self, view: ProposalView, delta: Delta, caller: Caller, unread: str
    ) -> dict[str, Any]:
        hidden = hidden_projects(caller)
        inspects = caller.role in (OPERATOR, AUDITOR)
        batches = []
        for digest in view.evidence[:MOST_BATCHES]:
            batch = self._trace.batch(digest)
            mine = batch.get("project") == view.project and view.project not in hidden
            batches.append(batch if inspects or mine else {"digest": digest, "known": False})
        found: dict[str, Any] = {
            "cited": len(view.evidence),
            "batches": batches,
            "unknown": sum(not batch["known"] for batch in batches),
            "facts": None,
            "trusted": None,
            "samples": [],
            "rules": [],
            "unread": unread or None,
        }
        if not view.evidence or not view.project or unread:
            return found
        where = f"FROM events WHERE project = {text(view.project)}"
        where += f" AND batch IN ({listed(view.evidence)})"
        subjects = tuple(
            sorted(
                quad.subject.value for quad in delta.quads if isinstance(quad.subject, NamedNode)
            )
        )
        try:
            counted = self._rows(f"SELECT count(), countIf(trusted) {where}", hidden)
            found["facts"], found["trusted"] = counted[0]
            found["rules"] = self._rules(where, hidden)
            found["samples"] = self._samples(where, subjects, hidden)
        except IngestError as error:
            LOGGER.warning("evidence of %s could not be read: %s", view.id, error)
            found["unread"] = error.detail
        return found

    def _rules(self, where: str, hidden: set[str]) -> list[dict[str, Any]]:
        rows = self._rows(
            f"SELECT rule, class, count() AS facts {where} AND rule != ''"
            " GROUP BY rule, class ORDER BY facts DESC, rule LIMIT 20",
            hidden,
        )
        return [{"rule": rule, "class": class_, "facts": facts} for rule, class_, facts in rows]

    def _samples(
        self, where: str, subjects: Sequence[str], hidden: set[str]
    ) -> list[dict[str, Any]]:
        """Facts of the evidence, those about a thing that changes first. No attributes: they may
        hold what only the facts' own readers should look through."""
        about = ", ".join(text(item) for item in subjects[:MOST_SENTENCES]) or "''"
        rows = self._rows(
            "SELECT time, source, class, name, service, release, environment, batch, trusted,"
            f" subject IN ({about}) AS direct {where}"
            f" ORDER BY direct DESC, time DESC LIMIT {MOST_SAMPLES}",
            hidden,
        )
        names = ("time", "source", "class", "name", "service", "release", "environment", "batch")
        return [
            {
                **{name: harmless(str(value)) for name, value in zip(names, row, strict=False)},
                "trusted": bool(row[8]),
                "about_a_change": bool(row[9]),
            }
            for row in rows
        ]

    def _rows(self, sql: str, hidden: set[str]) -> list[tuple[Any, ...]]:
        result = self._warehouse.query(sql, max_seconds=_SECONDS, hidden_projects=hidden)
        return list(result.rows)

    def _after(
        self, view: ProposalView, delta: Delta, words: Words, caller: Caller
    ) -> dict[str, Any]:
        """The things that change as they would be described."""
        things = sorted({quad.subject for quad in delta.quads}, key=str)
        new: dict[object, list[Quad]] = {}
        for quad in _ordered(delta.additions):
            new.setdefault(quad.subject, []).append(quad)
        if view.state != AWAITING:
            return {"things": [], "omitted": len(things)}
        return {
            "things": [
                self._thing(thing, new.get(thing, []), delta, words, caller)
                for thing in things[:MOST_THINGS]
                if isinstance(thing, NamedNode)
            ],
            "omitted": max(0, len(things) - MOST_THINGS),
        }

    def _thing(
        self, thing: NamedNode, new: list[Quad], delta: Delta, words: Words, caller: Caller
    ) -> dict[str, Any]:
        stands: list[Quad] = []
        omitted = 0
        for quad in self._store.unrestricted(caller.hidden_graphs, thing):
            if quad in delta.removals:
                continue
            if len(stands) < MOST_STATEMENTS:
                stands.append(quad)
            else:
                omitted += 1
            if omitted >= MOST_SENTENCES:
                break
        return {
            "name": words.name(thing),
            "iri": thing.value,
            "new": [words.sentence(quad) for quad in new[:MOST_STATEMENTS]],
            "stands": [words.sentence(quad) for quad in _ordered(stands)],
            "omitted": omitted + max(0, len(new) - MOST_STATEMENTS),
        }

    def _queries(self, view: ProposalView, delta: Delta, caller: Caller) -> dict[str, Any]:
        if view.order is not None:
            return {"answers": [], "unanswered": "an order changes no graph"}
        if view.state != AWAITING:
            return {"answers": [], "unanswered": "it is decided: there is no before and after"}
        try:
            return {
                "answers": self._preview.compare(delta, caller.hidden_graphs),
                "unanswered": None,
            }
        except Unanswered as error:
            return {"answers": [], "unanswered": str(error)}

    def _graph_name(self, quad: Quad) -> str:
        return harmless(graph_of(quad).removeprefix(f"{self._ids.base}/graph/"))


def _ordered(quads: Iterable[Quad]) -> list[Quad]:
    return sorted(quads, key=str)
