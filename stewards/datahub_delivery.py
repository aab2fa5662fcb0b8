"""Brings metadata to DataHub in batches, and finds the entity that a batch fails for.

Invariant: what DataHub refuses is told apart from its neighbours by halving, and they arrive. An
entity that DataHub fails on, without refusing it, is put aside only where DataHub takes something
else right after that; otherwise DataHub is in trouble, and nothing is put aside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

MOST_PROPOSALS = 200
"""Proposals of aspects in a batch, as many as DataHub's own emitter puts into a request."""

Proposal: TypeAlias = Any
"""A ``MetadataChangeProposal`` of DataHub, whose classes aren't imported here."""

Emit: TypeAlias = Callable[[Sequence[Proposal], bool], None]
"""Sends proposals. With ``True`` it is tried again where DataHub is busy or fails. Raises
:class:`Refusal` and what ends the push."""


class Refusal(Exception):
    """DataHub doesn't take some proposals. It is about them for sure if ``certain``; else DataHub
    failed, and may have failed because of them. ``status`` is 0 for an error inside a success."""

    def __init__(self, status: int, error: str, *, certain: bool) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.certain = certain


@dataclass(frozen=True, slots=True)
class Parcel:
    """All proposals about one URN that come from one entity of the graph."""

    urn: str
    iri: str
    proposals: tuple[Proposal, ...]


class Delivery:
    """Collects parcels and sends them.

    ``probe`` sends something that DataHub always takes, and raises what ends the push otherwise.
    ``accepted`` and ``refused`` are told of each parcel, once.
    """

    def __init__(
        self,
        emit: Emit,
        probe: Callable[[], None],
        accepted: Callable[[Parcel], None],
        refused: Callable[[Parcel, Refusal], None],
    ) -> None:
        self._emit = emit
        self._probe = probe
        self._accepted = accepted
        self._refused = refused
        self._parcels: list[Parcel] = []
        self._size = 0

    def full(self, more: int) -> bool:
        """Whether so many more proposals are for the next batch."""
        return self._size > 0 and self._size + more > MOST_PROPOSALS

    def add(self, parcel: Parcel) -> None:
        """Takes a parcel into the batch."""
        self._parcels.append(parcel)
        self._size += len(parcel.proposals)

    def flush(self) -> None:
        """Sends the batch. Where this raises, some of it may have been sent."""
        waiting = [self._parcels] if self._parcels else []
        first = True
        while waiting:
            part = waiting.pop()
            single = len(part) == 1
            proposals = [proposal for parcel in part for proposal in parcel.proposals]
            try:
                # The parts of a batch that failed in spite of patience are for finding out why.
                self._emit(proposals, first or single)
            except Refusal as refusal:
                if not single:
                    middle = len(part) // 2
                    waiting += [part[middle:], part[:middle]]
                else:
                    if not refusal.certain:
                        self._probe()
                    self._refused(part[0], refusal)
            else:
                for parcel in part:
                    self._accepted(parcel)
            first = False
        self._parcels, self._size = [], 0
