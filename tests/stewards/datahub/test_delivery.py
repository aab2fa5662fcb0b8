"""Batches to DataHub: what it refuses is found, and everything else arrives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stewards.datahub_delivery import MOST_PROPOSALS, Delivery, Parcel, Refusal
from stewards.errors import PushLater


@dataclass
class Played:
    """Refuses batches with one of ``refused`` in them, fails on those with one of ``breaks``."""

    refused: frozenset[str] = frozenset()
    breaks: frozenset[str] = frozenset()
    down: bool = False
    requests: list[tuple[list[str], bool]] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    dead: dict[str, int] = field(default_factory=dict)

    def emit(self, proposals: Sequence[str], patient: bool) -> None:
        self.requests.append((list(proposals), patient))
        if self.down or self.breaks & set(proposals):
            raise Refusal(500, "broken", certain=False)
        if self.refused & set(proposals):
            raise Refusal(422, "invalid", certain=True)

    def probe(self) -> None:
        if self.down:
            raise PushLater("down")

    def delivery(self) -> Delivery:
        def refused(parcel: Parcel, refusal: Refusal) -> None:
            assert parcel.urn not in self.dead
            self.dead[parcel.urn] = refusal.status

        return Delivery(
            self.emit, self.probe, lambda parcel: self.accepted.append(parcel.urn), refused
        )


def sent(played: Played, urns: Sequence[str]) -> None:
    delivery = played.delivery()
    for urn in urns:
        delivery.add(Parcel(urn, f"iri of {urn}", (urn,)))
    delivery.flush()


@given(
    count=st.integers(1, 64),
    refused=st.frozensets(st.integers(0, 63), max_size=5),
    breaks=st.frozensets(st.integers(0, 63), max_size=3),
)
def test_what_is_refused_is_found_and_the_rest_arrives(
    count: int, refused: frozenset[int], breaks: frozenset[int]
) -> None:
    urns = [f"urn:{number}" for number in range(count)]
    bad = frozenset(f"urn:{number}" for number in refused) & set(urns)
    broken = frozenset(f"urn:{number}" for number in breaks) & set(urns)
    played = Played(bad, broken)
    sent(played, urns)
    assert sorted(played.accepted) == sorted(set(urns) - bad - broken)
    assert played.dead == dict.fromkeys(bad, 422) | dict.fromkeys(broken, 500)
    # Each is found by halving; nothing is looked for one by one.
    assert len(played.requests) <= 1 + 2 * len(bad | broken) * math.ceil(math.log2(count) + 1)


def test_patience_is_for_the_batch_and_for_what_is_alone_at_last() -> None:
    played = Played(breaks=frozenset({"c"}))
    sent(played, "abcd")
    assert played.requests == [
        (["a", "b", "c", "d"], True),
        (["a", "b"], False),
        (["c", "d"], False),
        (["c"], True),
        (["d"], True),
    ]


def test_where_datahub_is_down_nothing_is_put_aside() -> None:
    played = Played(down=True)
    with pytest.raises(PushLater):
        sent(played, "abcd")
    assert played.dead == {}
    assert played.accepted == []


def test_a_batch_is_as_large_as_a_request_of_datahubs_own_emitter() -> None:
    delivery = Played().delivery()
    assert not delivery.full(MOST_PROPOSALS + 1)
    delivery.add(Parcel("a", "", ("a",)))
    assert not delivery.full(MOST_PROPOSALS - 1)
    assert delivery.full(MOST_PROPOSALS)
