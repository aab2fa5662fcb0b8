"""What may enter the graph by itself, and what is kept of the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ontology.ids import Ids
from ontology.vocab import Fo
from stewards.claim_set import DATA, LINKS, OPERATIONS, PLACES, Claim, ClaimSet
from stewards.new_things import (
    OVER_CAP,
    UNTRUSTED,
    HourlyCaps,
    kind_of,
    kinds_in,
    needing,
    over_cap,
)
from stewards.waiting import HOUR, MAX_THINGS, Waiting
from stewards.watermark import WatermarkStore

IDS = Ids()


def digest(seq: int) -> str:
    return f"sha256:{seq:064x}"


def shop(services: dict[str, int]) -> tuple[Claim, ...]:
    """Services, each with one route and shown by the batch of this number."""
    quads = ClaimSet(IDS.lineage_graph("shop"))
    for name, seq in services.items():
        evidence = ((seq, digest(seq)),)
        service = IDS.service("shop", name)
        route = IDS.instance("operation", "shop", name, "GET /")
        quads.thing(service, Fo.Service, name, evidence, PLACES)
        quads.thing(route, Fo.HttpRoute, "GET /", evidence, OPERATIONS, needs=frozenset({service}))
        quads.node(service, Fo.offers, route, evidence, OPERATIONS, about=route)
    return quads.ordered()


def services_of(claims: tuple[Claim, ...]) -> set[str]:
    return {claim.about.rpartition("/")[2] for claim in claims if kind_of(claim) == "services"}


@pytest.mark.parametrize(
    ("used", "cap", "waiting"),
    [
        ({}, 3, set()),
        ({}, 2, {"c"}),
        ({"services": 1}, 2, {"a", "c"}),
        ({"services": 9}, 2, {"a", "b", "c"}),
        ({"operations": 9}, 3, set()),
    ],
)
def test_the_earliest_seen_get_what_room_the_hour_has(
    used: dict[str, int], cap: int, waiting: set[str]
) -> None:
    claims = shop({"a": 2, "b": 1, "c": 3})
    over = over_cap(claims, frozenset(), used, HourlyCaps(services=cap))
    assert services_of(over) == waiting
    # With a service waits what can't be said without it.
    assert len(over) == len(claims) // 3 * len(waiting)


def test_what_is_settled_needs_no_room() -> None:
    claims = shop({"a": 1, "b": 2})
    settled = {claim.quad for claim in claims if claim.about == IDS.service("shop", "a")}
    assert not over_cap(claims, settled, {}, HourlyCaps(services=1))
    assert kinds_in(settled, claims) == {"services": 1}


@pytest.mark.parametrize(
    ("kind", "rank", "name"),
    [
        (Fo.Job, PLACES, "jobs"),
        (Fo.Dataset, DATA, "datasets"),
        (Fo.Topic, DATA, "topics"),
        (Fo.Column, DATA, "columns"),
        (Fo.DataStore, DATA, "data stores"),
        (Fo.Dependency, LINKS, "dependencies"),
        (Fo.DeploymentEnvironment, PLACES, "environments"),
        (Fo.Workload, PLACES, "workloads"),
        (Fo.Page, DATA, "pages"),
        (Fo.ProductEventType, DATA, "event types"),
        (Fo.Feature, DATA, "features"),
        (Fo.ErrorIssue, DATA, "error issues"),
        (Fo.Release, PLACES, "releases"),
        (Fo.HttpRoute, OPERATIONS, "operations"),
        # A class that is none of those is under a cap as well.
        (Fo.Metric, DATA, "things"),
    ],
)
def test_things_of_every_kind_are_under_a_cap(kind: str, rank: int, name: str) -> None:
    quads = ClaimSet(IDS.lineage_graph("shop"))
    for number in range(4):
        evidence = ((number + 1, digest(number + 1)),)
        quads.thing(IDS.instance("x", str(number)), kind, str(number), evidence, rank)
    caps = HourlyCaps(2, 2, 2, 2, 2, 2, 2, 2)
    over = over_cap(quads.ordered(), frozenset(), {name: 1}, caps)
    assert {claim.about for claim in over} == {IDS.instance("x", str(n)) for n in (1, 2, 3)}
    assert over_cap(quads.ordered(), frozenset(), {}, HourlyCaps()) == ()


NAMES = st.text("abcdef", min_size=1, max_size=3)


@given(st.dictionaries(NAMES, st.integers(1, 9)), st.integers(0, 9))
def test_no_more_than_the_cap_gets_through_and_nothing_hangs_in_the_air(
    services: dict[str, int], cap: int
) -> None:
    claims = shop(services)
    over = set(over_cap(claims, frozenset(), {}, HourlyCaps(services=cap)))
    through = tuple(claim for claim in claims if claim not in over)
    assert len(services_of(through)) == min(cap, len(services))
    introduced = {claim.introduces for claim in claims}
    there = {claim.introduces for claim in through}
    assert all(claim.needs & introduced <= there for claim in through)


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[Waiting]:
    store = WatermarkStore(tmp_path / "stewards.sqlite")
    yield Waiting(store, "steward-shop", "shop")
    store.close()


def test_what_waits_is_kept_whole_and_once(waiting: Waiting) -> None:
    claims = shop({"a": 1, "b": 2})
    assert waiting.add(claims, UNTRUSTED) == len(claims)
    assert waiting.add(claims, OVER_CAP) == 0
    assert waiting.all() == [(claim, UNTRUSTED) for claim in claims]
    waiting.forget(claims[1:])
    assert waiting.all() == [(claims[0], UNTRUSTED)]


def test_a_flood_is_kept_as_far_as_there_is_room_and_counted(waiting: Waiting) -> None:
    claims = shop({f"s{number:05d}": number for number in range(1, MAX_THINGS + 101)})
    waiting.add(claims, UNTRUSTED)
    kept = tuple(claim for claim, _ in waiting.all())
    assert sum(1 for claim in kept if claim.introduces) == MAX_THINGS
    assert not needing(kept, {claim.introduces or "" for claim in set(claims) - set(kept)} - {""})
    assert waiting.turned_away() == {"operations": MAX_THINGS + 100, "services": 100}
    waiting.begin_again()
    assert waiting.turned_away() == {}


def test_what_an_hour_brought_survives_a_restart_and_passes(tmp_path: Path) -> None:
    store = WatermarkStore(tmp_path / "stewards.sqlite")
    first = Waiting(store, "steward-shop", "shop")
    first.note_admitted({"services": 2}, 1_000.0)
    first.note_admitted({"services": 1, "pages": 4}, 1_500.0)
    store.close()
    store = WatermarkStore(tmp_path / "stewards.sqlite")
    again = Waiting(store, "steward-shop", "shop")
    assert again.admitted(1_600.0) == {"services": 3, "pages": 4}
    assert again.admitted(1_000.0 + HOUR) == {"services": 1, "pages": 4}
    assert Waiting(store, "steward-blog", "blog").admitted(1_600.0) == {}
    store.close()
