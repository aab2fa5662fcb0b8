"""Looks round for machines, keeps the status of assets, and proposes what is new.

Invariant: what is found is proposed and never stated by itself, but for the status of what is an
asset already. The platform proposes on its own behalf: assets are the organisation's and no
project's, so no project's steward may speak for them, and a person decides either way. A source
that doesn't answer takes no other with it. The same look at the same graph proposes the same, and
what waits or was turned down isn't proposed again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from pyoxigraph import NamedNode, Quad

from ontology.ids import Ids
from ontology.store import GraphStore
from ontology.terms import canonical_quad
from proofs.errors import GateError
from proofs.ledger import Ledger
from proofs.policy import POLICY_PRINCIPAL
from proofs.proposal import ProposalView
from proofs.submission import Request
from runtime.asset_drift import Drift, drift
from runtime.asset_graph import AssetGraph, read_assets
from runtime.asset_matching import Meeting, meet
from runtime.asset_plan import Plan, TurnedDown, plan
from runtime.asset_sightings import Look, Place, Sighting
from runtime.asset_status import StatusKeeper
from stewards.discovery_graph import Proposals, surroundings, turned_down
from stewards.errors import DiscoveryBusy

LOGGER = logging.getLogger(__name__)

MOST_WAITING: Final = 5
"""While so many proposals of this kind wait for a person, no other one is made."""
MOST_SIGHTINGS: Final = 10_000
_MOST_EVIDENCE: Final = 1_000
_PATIENCE = 2.0

Source = Callable[[], Look]
"""Looks at some places. What can't be looked at is in :attr:`Look.silent`; it raises nothing that
is expected."""


@dataclass(frozen=True, slots=True)
class Discovered:
    """What a look round came to: how many machines were ``seen``, how many of them are ``known``,
    how many changed their status; the id of the proposal, if one was made, with the ids of the new
    assets in it, how many services are hosted there and how many assets are capable of something
    that nobody had stated; of places that didn't answer why; and, by reason, how much was set
    aside."""

    seen: int
    known: int
    changed: int
    proposal: str | None
    assets: tuple[str, ...]
    hosted: int
    capable: int
    silent: tuple[str, ...]
    set_aside: Mapping[str, int] = field(default_factory=dict)


class AssetDiscovery:
    """Any thread may call; one look at a time, and who asks meanwhile is told so
    (:class:`DiscoveryBusy`)."""

    def __init__(
        self,
        ledger: Ledger,
        store: GraphStore,
        ids: Ids,
        keeper: StatusKeeper,
        proposals: Proposals,
        sources: Sequence[Source],
        *,
        reachable: Callable[[AssetGraph], Mapping[str, str]] = lambda graph: {},
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._ids = ids
        self._keeper = keeper
        self._proposals = proposals
        self._sources = sources
        self._reachable = reachable
        self._graph = NamedNode(ids.graph("assets"))
        self._platform = ids.principal(POLICY_PRINCIPAL)
        self._looking = threading.Lock()

    def discover(self) -> Discovered:
        """Look round, state what changed, and propose what is new. Raises
        :class:`proofs.errors.GateError` where the gate takes no proposal."""
        with self._turn():
            look = self._look()
            graph = self.assets()
            meeting = meet(graph.assets.values(), look.sightings)
            changed = self._state(graph, meeting)
            waiting, before = turned_down(self._ledger, self._proposals, self._ids)
            found = plan(
                meeting,
                graph,
                self._ids,
                surroundings(self._ledger, self._store, self._ids),
                before,
            )
            view = None
            if found and waiting < MOST_WAITING:
                view = self._propose(self._platform, found, "found by looking round")
            return Discovered(
                seen=len(meeting.known) + len(meeting.new) + len(meeting.unclear),
                known=len(meeting.known),
                changed=changed,
                proposal=None if view is None else view.id,
                assets=() if view is None else tuple(a.asset_id for a in found.assets),
                hosted=0 if view is None else len(found.hosted),
                capable=0 if view is None else len(found.capable),
                silent=_silent(look),
                set_aside=_set_aside(look, meeting, found),
            )

    def drift(self) -> tuple[Drift, ...]:
        """How what is declared differs from what a look round finds; it changes nothing."""
        with self._turn():
            look = self._look()
            graph = self.assets()
            meeting = meet(graph.assets.values(), look.sightings)
            return drift(graph, look, meeting, self._reachable(graph))

    def propose_drift(self, principal: str, rationale: str = "") -> ProposalView | None:
        """Propose, on somebody's behalf, to state what was found beyond what is declared: new
        assets, and services where they were seen. Nothing is taken away. ``None`` where that is
        nothing. Raises :class:`proofs.errors.GateError`."""
        with self._turn():
            graph = self.assets()
            meeting = meet(graph.assets.values(), self._look().sightings)
            found = plan(
                meeting,
                graph,
                self._ids,
                surroundings(self._ledger, self._store, self._ids),
                TurnedDown(),
                elsewhere=True,
            )
            if not found:
                return None
            return self._propose(principal, found, rationale or "found and not declared")

    @contextmanager
    def _turn(self) -> Iterator[None]:
        # Hosts that don't answer take their time; nobody's thread is held up for another's look.
        if not self._looking.acquire(timeout=_PATIENCE):
            raise DiscoveryBusy("somebody else looks round now: ask again in a moment")
        try:
            yield
        finally:
            self._looking.release()

    def assets(self) -> AssetGraph:
        """The assets as the graph has them now."""
        return read_assets(self._store.match(graph=self._graph))

    def _look(self) -> Look:
        sightings: list[Sighting] = []
        places: set[Place] = set()
        silent: dict[Place, str] = {}
        left_out = 0
        for source in self._sources:
            look = source()
            taken = look.sightings[: MOST_SIGHTINGS - len(sightings)]
            left_out += look.left_out + len(look.sightings) - len(taken)
            sightings.extend(taken)
            places |= look.places
            silent |= look.silent
        return Look(tuple(sightings), frozenset(places), silent, left_out)

    def _state(self, graph: AssetGraph, meeting: Meeting) -> int:
        count = 0
        for name, found in sorted(meeting.known.items()):
            if found.state is None:
                continue
            try:
                view = self._keeper.observed(
                    graph.assets[name],
                    found.state,
                    at=found.at,
                    evidence=found.evidence,
                    by=f"looking round ({', '.join(found.sources)})",
                )
            except GateError as error:
                LOGGER.warning("the status of %s could not be stated: %s", name, error)
            else:
                count += view is not None
        return count

    def _propose(self, principal: str, found: Plan, why: str) -> ProposalView | None:
        additions = frozenset(
            canonical_quad(Quad(t.subject, t.predicate, t.object, self._graph))
            for t in found.additions
        )
        what = [
            *(f"{asset.asset_id} ({asset.kind})" for asset in found.assets),
            *(f"{service.rpartition('/')[2]} on {name}" for name, service in found.hosted),
            *(f"what {name} can do" for name in found.capable),
        ]
        request = Request(
            additions,
            frozenset(),
            rationale=f"{why}: {', '.join(what)}"[:1_000],
            evidence=found.evidence[:_MOST_EVIDENCE],
        )
        return self._ledger.submit(principal, request)


def _silent(look: Look) -> tuple[str, ...]:
    return tuple(
        f"{place.kind} {place.name or 'here'}: {why}" for place, why in sorted(look.silent.items())
    )


def _set_aside(look: Look, meeting: Meeting, found: Plan) -> dict[str, int]:
    counted = dict(found.set_aside)
    if meeting.unmet:
        counted["was heard from by a name that is no asset's"] = meeting.unmet
    if look.left_out:
        counted["is beyond what one look takes in"] = look.left_out
    return counted
