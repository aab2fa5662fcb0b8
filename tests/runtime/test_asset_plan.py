"""What is proposed of what was found: what the shapes accept, once, and nothing beyond."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyoxigraph import NamedNode, Triple

from ontology.ids import Ids
from ontology.vocab import Fo
from runtime.asset_drift import KINDS, drift
from runtime.asset_graph import AssetGraph, read_assets
from runtime.asset_matching import Found, meet
from runtime.asset_naming import asset_id, fits
from runtime.asset_plan import (
    BEYOND,
    DECIDED,
    MOST_HOSTED,
    MOST_NEW,
    STRANGE,
    UNCLEAR,
    UNNAMED,
    Plan,
    Surroundings,
    TurnedDown,
    plan,
)
from runtime.asset_quads import Statements
from runtime.asset_sightings import Look, Place, Sighting
from runtime.assets import Kind, Locators, RuntimeAsset, Status
from runtime.topology_shapes import report
from runtime.urls import ExecutorUrl

IDS = Ids()
AT = datetime(2026, 11, 28, 12, tzinfo=UTC)
ACME, OPS = IDS.organisation("acme"), IDS.principal("ops")
CHECKOUT, LEDGER = IDS.service("shop", "checkout"), IDS.service("shop", "ledger")
AROUND = Surroundings(ACME, {"shop": OPS, "pay": ACME}, lambda iri: iri in (CHECKOUT, LEDGER))
DIGEST = "sha256:" + "0a" * 32
WEB = Locators(cluster="main", namespace="shop", workload="deployment/web")
BOX = Locators(container="box")


NOTHING = TurnedDown()


def faults(stated: frozenset[Triple]) -> list[str]:
    """What the shapes say of these statements; what they refer to is for the gate to look at."""
    ours = {str(triple.subject) for triple in stated}
    return [result.message for result in report(stated).results if result.focus in ours]


def seen(locators: Locators, **named: object) -> Sighting:
    kind: Kind = "kubernetes" if locators.workload else "lxc"
    values: dict[str, object] = {"source": kind, "kind": kind, "locators": locators, "at": AT}
    return Sighting(**(values | named))  # type: ignore[arg-type]


def planned(
    *sightings: Sighting,
    assets: tuple[RuntimeAsset, ...] = (),
    before: TurnedDown = NOTHING,
    elsewhere: bool = False,
) -> Plan:
    meeting = meet(assets, sightings)
    return plan(meeting, AssetGraph(assets), IDS, AROUND, before, elsewhere=elsewhere)


def asset(name: str, locators: Locators, **named: object) -> RuntimeAsset:
    kind: Kind = "kubernetes" if locators.workload else "lxc"
    values: dict[str, object] = {"capabilities": ("run",)} | named
    return RuntimeAsset(name, kind, ACME, locators, **values)  # type: ignore[arg-type]


def test_a_new_workload_with_everything_that_is_known_of_it() -> None:
    found = planned(
        seen(WEB, state="running", names=("web",), evidence=(DIGEST,)),
        seen(
            WEB,
            source="telemetry",
            services=(CHECKOUT, IDS.service("shop", "unknown")),
            projects=("shop",),
            environment="production",
        ),
    )
    (new,) = read_assets(found.additions).assets.values()
    assert new == RuntimeAsset(
        "web",
        "kubernetes",
        OPS,
        WEB,
        project=IDS.project("shop"),
        environment=IDS.environment("production"),
        capabilities=("logs", "restart", "run"),
        hosts=(CHECKOUT,),
        status=Status("running", "2026-11-28T12:00:00.000000Z", (IDS.evidence("0a" * 32),)),
    )
    assert not faults(found.additions)
    assert found.evidence == (DIGEST,)
    assert not found.set_aside


def test_whose_it_is_among_several_nobody_knows() -> None:
    found = planned(seen(BOX, names=("box",), projects=("pay", "shop")))
    (new,) = found.assets
    assert (new.owner, new.project) == (ACME, "")


def test_what_is_known_is_not_proposed() -> None:
    known = asset("it", BOX, declared_in="main")
    assert not planned(seen(BOX, state="running", names=("box",)), assets=(known,))


def test_a_service_is_hosted_where_it_was_seen_unless_it_is_stated_elsewhere() -> None:
    sighting = seen(BOX, services=(CHECKOUT, LEDGER))
    known, other = asset("it", BOX), asset("other", WEB, hosts=(LEDGER,))
    found = planned(sighting, assets=(known, other))
    assert found.hosted == (("it", CHECKOUT),)
    assert found.additions == {
        Triple(NamedNode(IDS.runtime_asset("it")), NamedNode(Fo.hosts), NamedNode(CHECKOUT))
    }
    wider = planned(sighting, assets=(known, other), elsewhere=True)
    assert wider.hosted == (("it", CHECKOUT), ("it", LEDGER))
    stated = planned(sighting, assets=(replace(known, hosts=(CHECKOUT, LEDGER)),), elsewhere=True)
    assert not stated


def test_what_was_turned_down_is_not_proposed_again() -> None:
    sightings = (seen(BOX, names=("box",)), seen(WEB, names=("web",)))
    before = TurnedDown((("lxc", BOX),), frozenset())
    found = planned(*sightings, before=before)
    assert [new.asset_id for new in found.assets] == ["web"]
    assert found.set_aside == {DECIDED: 1}
    known = asset("it", BOX)
    sighting = seen(BOX, services=(CHECKOUT,))
    asked = planned(sighting, assets=(known,)).additions
    assert asked
    hosted = TurnedDown((), asked)
    assert not planned(sighting, assets=(known,), before=hosted)


def test_what_can_be_done_is_proposed_where_nobody_has_said_it() -> None:
    silent = asset("it", WEB, capabilities=())
    found = planned(seen(WEB), assets=(silent,))
    assert found.capable == ("it",)
    assert {(t.predicate.value, t.object.value) for t in found.additions} == {  # type: ignore[union-attr]
        (Fo.capability, name) for name in ("logs", "restart", "run")
    }
    assert not planned(seen(WEB), assets=(silent,), before=TurnedDown((), found.additions))
    assert not planned(seen(WEB), assets=(asset("it", WEB, capabilities=("request",)),))
    # Telemetry shows that it is there, and not that anything reaches it.
    assert not planned(seen(WEB, source="telemetry"), assets=(silent,))


def test_no_more_than_a_person_reads_at_once() -> None:
    sightings = [seen(Locators(container=f"box{n}"), names=(f"box{n}",)) for n in range(70)]
    found = planned(*sightings)
    assert len(found.assets) == MOST_NEW
    assert found.set_aside == {BEYOND: 70 - MOST_NEW}
    every = frozenset(IDS.service("shop", str(number)) for number in range(MOST_HOSTED + 5))
    around = replace(AROUND, is_service=every.__contains__)
    meeting = meet([asset("it", BOX)], [seen(BOX, services=tuple(sorted(every)))])
    wide = plan(meeting, AssetGraph([asset("it", BOX)]), IDS, around, TurnedDown())
    assert len(wide.hosted) == MOST_HOSTED
    assert wide.set_aside == {BEYOND: 5}


STRANGERS = {
    "a namespace that is none": Locators("", 0, "", "main", "Sh op", "deployment/web"),
    "a workload that is none": Locators("", 0, "", "main", "shop", "deployment/<script>"),
    "a cluster that is none": Locators("", 0, "", "a\nb", "shop", "deployment/web"),
    "a container that is none": Locators(container="-rf"),
    "no locator": Locators(),
    "a secret": Locators(container="ghp_" + "a1B2" * 9),
}


@pytest.mark.parametrize("locators", STRANGERS.values(), ids=STRANGERS)
def test_what_cannot_be_stated_takes_no_neighbour_with_it(locators: Locators) -> None:
    found = planned(seen(locators, names=("x",)), seen(Locators(container="zz"), names=("zz",)))
    assert [new.asset_id for new in found.assets] == ["zz"]
    assert found.set_aside == {STRANGE: 1}


def test_what_is_unclear_or_has_no_name_is_counted() -> None:
    known = (asset("a", BOX), asset("b", BOX))
    found = planned(seen(BOX), seen(Locators("pve", 104), names=("ct104",)), assets=known)
    assert not found
    assert found.set_aside == {UNCLEAR: 1, UNNAMED: 1}


# --- names


def of(locators: Locators, *names: str) -> Found:
    kind: Kind = "kubernetes" if locators.workload else "lxc"
    return Found(kind, locators, None, AT, (), (), names, "", (), ())


@pytest.mark.parametrize(
    ("found", "taken", "name"),
    [
        (of(BOX, "box"), (), "box"),
        (of(BOX, "Grüne Box"), (), "Gr-ne-Box"),
        (of(BOX, "../etc"), (), "etc"),
        (of(BOX, "104"), (), ""),
        (of(BOX), (), ""),
        (of(Locators("pve", 104), "104"), (), ""),
        (of(Locators("pve", 104), "web-104"), (), ""),
        (of(Locators("pve", 104), "web1041"), (), "web1041"),
        (of(Locators("pve", 104), "pve"), (), "pve-container"),
        (of(WEB, "web"), (), "web"),
        (of(WEB, "shop-web"), (), ""),
        (of(WEB, "shop", "storefront"), (), "storefront"),
        (of(WEB, "shop"), (), "shop-deployment"),
        (of(Locators("", 0, "", "", "web", "deployment/web"), "web"), (), "web-deployment"),
    ],
)
def test_an_id_is_a_name_that_people_chose(found: Found, taken: tuple[str, ...], name: str) -> None:
    assert asset_id(found, taken) == name


def test_a_name_that_is_taken_gets_a_suffix_that_lasts() -> None:
    other = Locators("", 0, "", "main", "pay", "deployment/web")
    first = asset_id(of(other, "web"), {"web"})
    assert first == asset_id(of(other, "web"), {"web", "box"})
    assert first.startswith("web-")
    assert first.removeprefix("web-").isalpha()
    assert first != asset_id(of(WEB, "web"), {"web"})


NAMES = st.one_of(
    st.sampled_from(["web", "shop", "main", "pve", "shop-web", "web.shop", "104", "web-104", "7"]),
    st.text(st.characters(codec="utf-8"), max_size=6),
    st.from_regex(r"[a-z0-9][a-z0-9.-]{0,6}", fullmatch=True),
)
LOCATORS = st.one_of(
    st.builds(
        Locators,
        node=st.sampled_from(["", "pve", "web"]),
        vmid=st.sampled_from([0, 7, 104]),
        container=st.sampled_from(["web", "box", "104"]),
    ),
    st.builds(
        Locators,
        cluster=st.sampled_from(["", "main", "web"]),
        namespace=st.sampled_from(["shop", "web", "a-b"]),
        workload=st.sampled_from(["deployment/web", "statefulset/shop", "job/x.y"]),
    ),
)


@settings(max_examples=60)
@given(st.lists(st.tuples(LOCATORS, st.lists(NAMES, max_size=3)), max_size=4))
def test_the_shapes_accept_whatever_is_proposed(
    machines: list[tuple[Locators, list[str]]],
) -> None:
    sightings = [
        seen(locators, names=tuple(names), state="running") for locators, names in machines
    ]
    found = planned(*sightings)
    assert not faults(found.additions)
    assert len(read_assets(found.additions).assets) == len(found.assets)
    again = planned(*reversed(sightings))
    assert again.additions == found.additions
    # What was proposed and accepted is known afterwards.
    assert not planned(*sightings, assets=found.assets)


@given(NAMES, LOCATORS)
def test_what_fits_is_no_locator(name: str, locators: Locators) -> None:
    if fits(name, locators):
        assert name not in {
            *(locators.node, str(locators.vmid), locators.cluster, locators.namespace),
        }


# --- drift


def test_drift_tells_what_differs_and_only_of_what_was_looked_at() -> None:
    assets = (
        asset("gone", Locators(container="gone"), declared_in="main"),
        asset("moved", Locators("one", 104), declared_in="main"),
        asset("far", Locators(node="far", container="x"), declared_in="main"),
        asset("down", BOX, roles=("worker",)),
        asset("idle", Locators(container="idle")),
        asset("shop-web", WEB, executor=ExecutorUrl.parse("http://web.svc/"), hosts=(LEDGER,)),
        asset("any-cluster", Locators("", 0, "", "", "pay", "deployment/x")),
    )
    look = Look(
        (
            seen(BOX, state="stopped", services=(CHECKOUT, LEDGER)),
            seen(Locators(container="idle"), state="stopped"),
            seen(Locators("two", 104), state="running", names=("web",)),
            seen(WEB, state="running", services=(LEDGER,)),
            seen(Locators("", 0, "", "", "pay", "job/y"), state="running", names=("y",)),
        ),
        frozenset({Place("lxc", ""), Place("lxc", "one"), Place("lxc", "two")}),
        {Place("kubernetes", "main"): "it refused the connection"},
    )
    found = drift(
        AssetGraph(assets), look, meet(assets, look.sightings), {"shop-web": "it timed out"}
    )
    assert [(item.kind, item.asset_id, item.detail, item.service) for item in found] == [
        ("not-found", "gone", "", ""),
        ("not-found", "moved", "a machine of its number is on 'two'", ""),
        ("not-declared", "", "running, y, by kubernetes", ""),
        ("not-declared", "", "running, web, by lxc", ""),
        ("not-running", "down", "stopped, by lxc", ""),
        ("hosted-elsewhere", "down", "stated on shop-web", LEDGER),
        ("hosting-not-stated", "down", "", CHECKOUT),
        ("executor-unreachable", "shop-web", "it timed out", ""),
        ("silent-place", "", "kubernetes main: it refused the connection", ""),
    ]
    assert {item.kind for item in found} <= set(KINDS)


def test_where_everything_is_as_declared_there_is_no_drift() -> None:
    assets = (asset("box", BOX, declared_in="main", hosts=(CHECKOUT,)),)
    look = Look((seen(BOX, state="running", services=(CHECKOUT,)),), frozenset({Place("lxc", "")}))
    assert drift(AssetGraph(assets), look, meet(assets, look.sightings), {}) == ()


def test_what_is_unclear_is_there() -> None:
    assets = (asset("a", BOX, declared_in="main"), asset("b", BOX, declared_in="main"))
    look = Look((seen(BOX, state="stopped"),), frozenset({Place("lxc", "")}))
    found = drift(AssetGraph(assets), look, meet(assets, look.sightings), {})
    assert [(item.kind, item.detail) for item in found] == [("unclear", "it could be any of a, b")]


def test_a_locator_as_an_id_would_be_seen() -> None:
    stated = Statements(IDS)
    stated.asset(asset("pve", Locators("pve", 104)))
    assert len(faults(frozenset(stated.triples))) == 1
