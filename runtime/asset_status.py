"""Keeps the status that the graph states of runtime assets to what was last observed.

Invariant: a status is stated when it changes; who finds the same again changes nothing. What was
observed before the status that is stated is no news. However often an asset changes its mind, only
so many changes of it are stated in a while, and then the last one is. The platform states what it
observed on its own behalf, through the gate like everybody; policy lets it apply at once
(:mod:`proofs.observed_policy`).
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, get_args

from pyoxigraph import Literal, NamedNode, Quad

from ontology.ids import Ids
from ontology.store import GraphStore
from ontology.terms import Delta, canonical_quad
from ontology.vocab import Fo, Xsd
from proofs.errors import Conflict, GateError
from proofs.ledger import Ledger
from proofs.observed_policy import MOST_EVIDENCE, STATUS
from proofs.policy import POLICY_PRINCIPAL
from proofs.projections import format_time
from proofs.proposal import ProposalView
from proofs.submission import Request
from runtime.assets import RuntimeAsset, State

LOGGER = logging.getLogger(__name__)

MOST_CHANGES: Final = 4
WINDOW: Final = timedelta(minutes=10)
"""An asset's status is stated anew so often in this time at most."""

_ATTEMPTS = 3
_STATES = get_args(State)
_DIGEST = "sha256:"


@dataclass(frozen=True, slots=True)
class Observation:
    """How an asset was found at a moment: the evidence of it, as digests (``sha256:...`` of
    evidence batches) or IRIs, and who or what found it, in a few words."""

    state: State
    at: datetime
    evidence: tuple[str, ...] = ()
    by: str = ""


def status_change(
    ids: Ids,
    asset: str,
    stated: Iterable[Quad],
    observation: Observation,
    now: datetime | None = None,
) -> Delta | None:
    """What makes the graph state this observation of the asset with this IRI, ``stated`` being its
    quads in ``graph/assets``; ``None`` where it is in that state already, or was observed later. A
    time after ``now`` was observed by nobody, and keeps nothing from being stated."""
    status = frozenset(quad for quad in stated if quad.predicate.value in STATUS)
    said = {
        quad.predicate.value: quad.object.value
        for quad in status
        if isinstance(quad.object, Literal | NamedNode)
    }
    if said.get(Fo.assetStatus) == observation.state:
        return None
    latest = _moment(said.get(Fo.statusSince, ""))
    if observation.at <= latest and (now is None or latest <= now):
        return None
    graph, subject = NamedNode(ids.graph("assets")), NamedNode(asset)
    since = Literal(format_time(observation.at.astimezone(UTC)), datatype=NamedNode(Xsd.dateTime))
    wanted = {
        Quad(subject, NamedNode(Fo.assetStatus), Literal(observation.state), graph),
        canonical_quad(Quad(subject, NamedNode(Fo.statusSince), since, graph)),
    }
    for iri in sorted({_evidence(ids, item) for item in observation.evidence})[:MOST_EVIDENCE]:
        wanted.add(Quad(subject, NamedNode(Fo.statusEvidence), NamedNode(iri), graph))
    return Delta(frozenset(wanted) - status, status - frozenset(wanted))


class StatusKeeper:
    """States what is observed of assets; any thread may call."""

    def __init__(
        self, ledger: Ledger, store: GraphStore, ids: Ids, *, clock: Callable[[], datetime]
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._ids = ids
        self._clock = clock
        self._graph = NamedNode(ids.graph("assets"))
        self._platform = ids.principal(POLICY_PRINCIPAL)
        self._lock = threading.Lock()
        self._waiting: dict[str, Observation] = {}
        self._changes: dict[str, deque[datetime]] = {}

    def observed(
        self,
        asset: RuntimeAsset,
        state: State,
        *,
        at: datetime,
        evidence: Sequence[str] = (),
        by: str,
    ) -> ProposalView | None:
        """Take in how an asset was found: the proposal that states it, ``None`` where nothing has
        changed or where the change is stated a while later, since it changes too often.

        Raises :class:`proofs.errors.GateError` where the gate takes no changes; the observation is
        kept then, and :meth:`tick` tries again."""
        if state not in _STATES:
            raise ValueError(f"{state!r} is no state: one of {', '.join(_STATES)}")
        iri = asset.iri or self._ids.runtime_asset(asset.asset_id)
        found = Observation(state, min(at, self._clock()), tuple(evidence), by)
        with self._lock:
            earlier = self._waiting.get(iri)
            if earlier is None or earlier.at <= found.at:
                self._waiting[iri] = found
        return self._settle(iri)

    def tick(self) -> int:
        """State what had to wait and may be stated now; how many changes that were."""
        with self._lock:
            waiting = list(self._waiting)
        count = 0
        for iri in waiting:
            try:
                count += self._settle(iri) is not None
            except GateError as error:
                LOGGER.warning("the status of %s could not be stated: %s", iri, error)
        return count

    def _settle(self, iri: str) -> ProposalView | None:
        with self._lock:
            observation = self._waiting.get(iri)
        if observation is None:
            return None
        for attempt in range(_ATTEMPTS):
            head = self._ledger.head
            stated = frozenset(self._store.match(NamedNode(iri), graph=self._graph))
            delta = (
                status_change(self._ids, iri, stated, observation, self._clock())
                if _is_asset(stated)
                else None
            )
            if delta is None:
                self._forget(iri, observation)
                return None
            if not self._may_change(iri):
                return None
            try:
                view = self._ledger.submit(self._platform, self._request(delta, observation, head))
            except Conflict:
                # Somebody stated something of the asset in between.
                if attempt == _ATTEMPTS - 1:
                    raise
                continue
            self._forget(iri, observation)
            with self._lock:
                self._changes.setdefault(iri, deque(maxlen=MOST_CHANGES)).append(self._clock())
            return view
        return None

    def _request(self, delta: Delta, observation: Observation, head: int) -> Request:
        digests = tuple(sorted(item for item in observation.evidence if item.startswith(_DIGEST)))
        return Request(
            delta.additions,
            delta.removals,
            rationale=f"found {observation.state} by {observation.by or 'the platform'}"[:1_000],
            evidence=digests,
            base=head,
        )

    def _may_change(self, iri: str) -> bool:
        with self._lock:
            changes = self._changes.get(iri)
            if changes is None or len(changes) < MOST_CHANGES:
                return True
            return changes[0] <= self._clock() - WINDOW

    def _forget(self, iri: str, observation: Observation) -> None:
        """What came in meanwhile stays to be settled."""
        with self._lock:
            if self._waiting.get(iri) is observation:
                del self._waiting[iri]


def _is_asset(stated: Iterable[Quad]) -> bool:
    return any(quad.predicate.value == Fo.assetId for quad in stated)


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _evidence(ids: Ids, item: str) -> str:
    return ids.evidence(item.removeprefix(_DIGEST)) if item.startswith(_DIGEST) else item
