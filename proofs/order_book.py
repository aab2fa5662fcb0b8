"""The life of an order: taken, decided on, begun once, and told what came of it.

Invariant: an order is begun by one entry, which is durable before anything starts, and by no other:
whoever gets it back from :meth:`OrderBook.begin` is the only one to carry it out. What was begun
and never ended stays ``executing`` until somebody finishes it; nothing begins it again. An order
changes no graph: its truth is the journal.

Crash windows: before the entry ``executing`` nothing was done, and the order may be begun; after it
something may have been done, and only an outcome can follow, "unknown" where nobody knows.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime

from pyoxigraph import Literal, NamedNode

from ontology.ids import Ids
from ontology.terms import Delta
from ontology.vocab import Fo
from proofs.check import refusal
from proofs.control_policy import authorise, judge
from proofs.errors import BadSubmission, Forbidden, Invalid, UnknownProject, WrongState
from proofs.orders import ORDER_TYPE, Order, Result, check_order
from proofs.policy import AUTO, FOUR_EYES, Verdict
from proofs.predicate import EXECUTED as EXECUTED_KIND
from proofs.predicate import EXECUTING as EXECUTING_KIND
from proofs.projections import Projections, format_time
from proofs.proposal import (
    APPROVED,
    AWAITING,
    EXECUTED,
    EXECUTING,
    INVALID,
    SUBMITTED,
    SUPERSEDED,
    VALID,
    ProposalView,
)
from proofs.recorder import Recorder, decision, document_of
from proofs.submission import Request, check_text

MAX_WAITING = 200
"""Orders of one author that may wait at a time: more than that nobody decides on."""


class OrderBook:
    """The orders of one organisation; any thread may call. ``policy`` is the gate's own principal,
    ``writing`` the writer lock."""

    def __init__(
        self,
        projections: Projections,
        recorder: Recorder,
        ids: Ids,
        *,
        policy: str,
        clock: Callable[[], datetime],
        new_id: Callable[[datetime], str],
        writing: AbstractContextManager[object],
    ) -> None:
        self._projections = projections
        self._recorder = recorder
        self._assets = NamedNode(ids.graph("assets"))
        self._policy = policy
        self._clock = clock
        self._new_id = new_id
        self._writing = writing

    def submit(
        self, principal: str, order: Order, project: str | None, rationale: str, *, begin: bool
    ) -> ProposalView:
        """Takes an order: approved, begun or waiting, as policy has it."""
        check_text(rationale, "the rationale")
        check_order(order)
        with self._writing:
            self._recorder.resume()
            governance = self._projections.governance
            if project is not None and project not in governance.projects:
                raise UnknownProject(f"there is no project {project!r}")
            roles = self._roles(order)
            order = replace(order, roles=roles)
            document = check_order(order)
            authorise(governance, principal, order, roles)
            verdict = judge(governance, principal, order, roles)
            if verdict.requires != AUTO:
                waiting = self._waiting(principal, order, project)
                if waiting is not None:
                    return waiting
            moment = self._clock()
            now = format_time(moment)
            request = Request(
                frozenset(),
                frozenset(),
                project=project,
                rationale=rationale,
                media_type=ORDER_TYPE,
                source=document,
            )
            submission = document_of(self._new_id(moment), principal, request, Delta(), now)
            submission = replace(submission, order=submission.source_sha256)
            approval = decision(self._policy, "approve", "", now, verdict.reason)
            kind, reached, decisions = "submitted", [AWAITING], []
            if verdict.requires == AUTO:
                kind, reached, decisions = "approved", [APPROVED], [approval]
                if begin:
                    kind, reached = EXECUTING_KIND, [APPROVED, EXECUTING]
            states = (SUBMITTED, VALID, *reached)
            return self._recorder.commit(
                kind, now, Delta(), submission, states, None, decisions, document
            )

    def begin(self, identifier: str) -> ProposalView:
        """Begins an approved order; its author must still be one who may order that."""
        with self._writing:
            self._recorder.resume()
            view = self._in_state(identifier, APPROVED)
            order = order_of(view)
            authorise(self._projections.governance, view.author, order, self._roles(order))
            return self._record(view, EXECUTING_KIND, EXECUTING)

    def finish(self, identifier: str, result: Result) -> ProposalView:
        """Records what came of an order that was begun."""
        result.to_bytes()
        with self._writing:
            self._recorder.resume()
            view = self._in_state(identifier, EXECUTING)
            return self._record(view, EXECUTED_KIND, EXECUTED, result)

    def abandon(self, identifier: str, reason: str, by: str | None = None) -> ProposalView:
        """Ends an approved order that isn't to be begun any more, ``by`` policy unless said."""
        check_text(reason, "the reason")
        with self._writing:
            self._recorder.resume()
            view = self._in_state(identifier, APPROVED)
            now = format_time(self._clock())
            ending = decision(by or self._policy, "abandon", reason, now, None)
            document = self._projections.submission_of(view)
            return self._recorder.commit(
                "superseded", now, Delta(), document, (SUPERSEDED,), None, [ending]
            )

    def approve(
        self, view: ProposalView, by: str, reason: str, policy: str, *, single: bool
    ) -> ProposalView:
        """Approves a waiting order, which must still be one that its author may give. Whoever calls
        holds the writer lock and has seen that ``by`` may.

        Raises :class:`Invalid`, which leaves a record."""
        now = format_time(self._clock())
        document = self._projections.submission_of(view)
        order = order_of(view)
        try:
            authorise(self._projections.governance, view.author, order, self._roles(order))
        except (Forbidden, BadSubmission) as error:
            report = refusal(self._assets.value, str(error))
            self._recorder.commit("invalid", now, Delta(), document, (INVALID,), report)
            raise Invalid(f"it is no longer valid: {error}", view.id) from error
        approval = decision(by, "approve", reason, now, policy, single=single)
        return self._recorder.commit(
            "approved", now, Delta(), document, (APPROVED,), None, [approval]
        )

    def verdict(self, view: ProposalView) -> Verdict:
        """What policy asks of an order as governance and its asset are now."""
        order = order_of(view)
        try:
            roles = self._roles(order)
        except BadSubmission as error:
            return Verdict(FOUR_EYES, str(error))
        return judge(self._projections.governance, view.author, order, roles)

    def _record(
        self, view: ProposalView, kind: str, state: str, result: Result | None = None
    ) -> ProposalView:
        now = format_time(self._clock())
        document = self._projections.submission_of(view)
        return self._recorder.commit(kind, now, Delta(), document, (state,), result=result)

    def _in_state(self, identifier: str, state: str) -> ProposalView:
        view = self._projections.proposal(identifier)
        order_of(view)
        if view.state != state:
            raise WrongState(f"this order is {view.state}, and not {state}")
        return view

    def _roles(self, order: Order) -> tuple[str, ...]:
        """The roles that the graph says the asset has. Raises :class:`BadSubmission` where the
        graph knows no such asset."""
        try:
            asset = NamedNode(order.asset)
        except ValueError as error:
            raise BadSubmission(f"{order.asset!r} is no IRI: {error}", "unknown-asset") from error
        stated = {
            predicate: {
                quad.object.value
                for quad in self._projections.store.match(
                    asset, NamedNode(predicate), graph=self._assets
                )
                if isinstance(quad.object, Literal)
            }
            for predicate in (Fo.assetId, Fo.assetRole)
        }
        if order.asset_id not in stated[Fo.assetId]:
            raise BadSubmission(
                f"the graph knows no runtime asset {order.asset_id!r} at <{order.asset}>",
                "unknown-asset",
            )
        return tuple(sorted(stated[Fo.assetRole]))

    def _waiting(self, principal: str, order: Order, project: str | None) -> ProposalView | None:
        """The author's own order of the same that waits already. Raises :class:`BadSubmission`
        where there is none, and as many wait as may."""
        found = self._projections.index.orders(
            states=[AWAITING], principal=principal, limit=MAX_WAITING
        )
        asked = Order.from_bytes(order.to_bytes())
        for _, view in found:
            if view.project == project and order_of(view) == asked:
                return view
        if len(found) >= MAX_WAITING:
            raise BadSubmission(
                f"{len(found)} orders of <{principal}> wait for a decision, which is as many as"
                " may: withdraw some of them, or have somebody decide",
                "too-many-waiting",
            )
        return None


def order_of(view: ProposalView) -> Order:
    """What is to be carried out by a proposal. Raises :class:`WrongState` for one that changes the
    graph."""
    if view.order is None:
        raise WrongState("this proposal is a change of the graph, and nothing to be carried out")
    return Order.from_dict(view.order)


def result_of(view: ProposalView) -> Result | None:
    """What came of an order, or ``None``."""
    return None if view.result is None else Result(view.result, view.evidence)
