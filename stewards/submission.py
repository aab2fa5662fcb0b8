"""Hands drafts in at the gate, and reads from its answer what is at fault.

Invariant: every proposal that the gate took is counted once it has answered, with those that wait
for a decision by their ids. What the gate refused is set aside for a day by the report alone, never
by a guess.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from pyoxigraph import NamedNode, Quad

from ontology.ids import Ids
from stewards.draft import Draft
from stewards.errors import DraftRefused, UnexpectedAnswer, report_results
from stewards.exchange import Json
from stewards.gate_client import GateClient
from stewards.outcome import Tally
from stewards.watermark import Bookmark, WatermarkStore

LOGGER = logging.getLogger(__name__)

Clock = Callable[[], datetime]
"""The time now, with its zone."""

MAX_ROUNDS = 10
"""How often one page is drafted anew after a conflict or a refusal, in one cycle."""
ASIDE = timedelta(days=1)
"""A refused thing is proposed again after this: shapes may have changed."""
REFUSED = "quads that the gate refused"
AWAITING = "awaiting decision"


class Refused(Exception):
    """The gate refused this draft, as opposed to another request."""

    def __init__(self, draft: Draft, error: DraftRefused) -> None:
        super().__init__(str(error))
        self.draft = draft
        self.error = error


class Submission:
    """The way of one steward's drafts to the gate."""

    def __init__(
        self,
        client: GateClient,
        ids: Ids,
        bookmark: Bookmark,
        store: WatermarkStore,
        clock: Clock,
    ) -> None:
        self._client = client
        self._ids = ids
        self._bookmark = bookmark
        self._store = store
        self._clock = clock
        self._project = bookmark.record.project

    def hand_in(self, draft: Draft, base: int, tally: Tally, hold: str = "") -> Json:
        """Submit one draft made at the head ``base``; the gate's answer, whose ``id`` is ``None``
        where it changes nothing. Raises :class:`Refused`."""
        try:
            answer = self._client.propose(
                self._project,
                draft.rationale,
                draft.additions,
                draft.removals,
                draft.evidence,
                base,
                hold,
            )
        except DraftRefused as error:
            raise Refused(draft, error) from error
        if answer.get("state") in ("invalid", "rejected"):
            raise Refused(
                draft,
                DraftRefused(
                    422, "about:blank", "The proposal is invalid", "", report_results(answer)
                ),
            )
        if answer.get("id") is not None:
            self._count(answer, draft, tally)
        return answer

    def hand_in_marks(self, draft: Draft, tally: Tally) -> bool:
        """Submit a change of marks, without what the gate refuses of it: that is set aside for a
        day. Whether the gate took it."""
        for _ in range(MAX_ROUNDS):
            aside = self._store.aside(
                self._bookmark.record.name, draft.quads, self._clock().timestamp()
            )
            draft = replace(draft, quads=tuple(quad for quad in draft.quads if quad not in aside))
            if not draft.quads and not draft.removals:
                return False
            try:
                self.hand_in(draft, self._client.progress().head, tally)
            except Refused as refused:
                LOGGER.warning(
                    "steward %s: marks were refused: %s", self._bookmark.record.name, refused.error
                )
                if not self.set_aside(self.blamed(refused) or frozenset(draft.quads), tally):
                    return False
                continue
            return True
        return False

    def blamed(self, refused: Refused) -> frozenset[Quad]:
        """The quads of the refused draft that the report is about."""
        return blame(refused.draft, refused.error, self._ids.project(self._project))

    def set_aside(self, quads: frozenset[Quad], tally: Tally) -> int:
        """Leave these quads out for a day; how many they are."""
        until = self._clock() + ASIDE
        self._store.set_aside(self._bookmark.record.name, quads, until.timestamp())
        tally.set_aside[REFUSED] += len(quads)
        return len(quads)

    def _count(self, answer: Json, draft: Draft, tally: Tally) -> None:
        identifier = str(answer["id"])
        tally.proposals.append(identifier)
        tally.quads += len(draft.quads)
        if answer.get("state") == AWAITING:
            tally.awaiting += 1
            tally.open.append(identifier)
        self._bookmark.keep(proposals=self._bookmark.record.proposals + 1)


def head_of(answer: Json) -> int:
    """The head that the gate's answer names."""
    value = answer.get("head")
    if not isinstance(value, int):
        raise UnexpectedAnswer(f"POST /proposals answered without head: {sorted(answer)}")
    return value


def blame(draft: Draft, error: DraftRefused, project: str) -> frozenset[Quad]:
    """The quads of the draft that its report is about; none where the report names nothing in it.

    Where a result's value is a thing of this draft, that thing is at fault, rather than the thing
    that points at it. What is wrong with the project itself is no fault of a part of the draft.
    """
    subjects = {str(quad.subject) for quad in draft.quads}
    named = set()
    for result in error.results:
        focus, value = _iri(result.focus), _iri(result.value)
        named.add(value if value in subjects and value != focus else focus)
    named.discard(_iri(project))
    return frozenset(
        quad
        for quad in draft.quads
        if str(quad.subject) in named
        or (isinstance(quad.object, NamedNode) and str(quad.object) in named)
    )


def _iri(text: str) -> str:
    """``<iri>``, however the report writes it."""
    return text if text.startswith(("<", '"')) else f"<{text}>"
