"""Everything that is seen of one machine is one thing, and what could be several is none."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.asset_matching import meet, same_place
from runtime.asset_sightings import Sighting
from runtime.assets import Kind, Locators, RuntimeAsset

AT = datetime(2026, 11, 28, 12, tzinfo=UTC)
WEB = Locators(cluster="main", namespace="shop", workload="deployment/web")
OPEN = Locators(namespace="shop", workload="deployment/web")
BOX = Locators(container="box")


def asset(name: str, locators: Locators, kind: Kind | None = None) -> RuntimeAsset:
    found: Kind = "kubernetes" if locators.workload else "lxc"
    return RuntimeAsset(name, kind or found, "http://e/acme", locators)


def seen(locators: Locators, **named: object) -> Sighting:
    kind: Kind = "kubernetes" if locators.workload else "lxc"
    values: dict[str, object] = {"source": kind, "kind": kind, "locators": locators, "at": AT}
    return Sighting(**(values | named))  # type: ignore[arg-type]


def heard(locators: Locators, **named: object) -> Sighting:
    return seen(locators, source="telemetry", **named)


def at(container: str) -> Locators:
    return Locators(
        cluster="main", namespace="shop", workload="deployment/web", container=container
    )


SAME = {
    "a container by name": (BOX, Locators(container="box")),
    "a container by number": (Locators("pve", 104), Locators("pve", 104)),
    "a container that is called by its number": (
        Locators("pve", 104),
        Locators(node="pve", container="104"),
    ),
    "a workload": (WEB, WEB),
    "a workload of any cluster": (WEB, OPEN),
    "a container of a workload": (WEB, at("app")),
}
OTHERS = {
    "another name": (BOX, Locators(container="bo")),
    "another node": (BOX, Locators(node="pve", container="box")),
    "the same number on another node": (Locators("pve", 104), Locators("other", 104)),
    "another number": (Locators("pve", 104), Locators("pve", 105)),
    "a number and a name": (Locators("pve", 104), Locators(node="pve", container="web104")),
    "nothing said": (Locators(), Locators()),
    "another kind of workload": (WEB, Locators("", 0, "", "main", "shop", "statefulset/web")),
    "another namespace": (WEB, Locators("", 0, "", "main", "billing", "deployment/web")),
    "another cluster": (WEB, Locators("", 0, "", "other", "shop", "deployment/web")),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_one_machine(one: Locators, other: Locators) -> None:
    kind: Kind = "kubernetes" if one.workload else "lxc"
    assert same_place(kind, one, other)
    assert same_place(kind, other, one)
    found = meet([asset("it", one)], [seen(other, state="running")])
    assert list(found.known) == ["it"]
    assert not found.new
    assert not found.unclear


@pytest.mark.parametrize(("one", "other"), OTHERS.values(), ids=OTHERS)
def test_two_machines(one: Locators, other: Locators) -> None:
    kind: Kind = "kubernetes" if one.workload else "lxc"
    assert not same_place(kind, one, other)
    assert not same_place(kind, other, one)


def test_two_sources_that_see_the_same_make_one() -> None:
    found = meet(
        [],
        [
            seen(WEB, state="stopped", names=("web",), at=AT),
            heard(
                OPEN,
                state="running",
                at=AT + timedelta(minutes=1),
                services=("http://e/s",),
                projects=("shop",),
                environment="production",
            ),
        ],
    )
    (new,) = found.new
    assert new.locators == WEB
    # The cluster knows better than telemetry how it is, whichever came last.
    assert (new.state, new.at) == ("stopped", AT)
    assert new.sources == ("kubernetes", "telemetry")
    assert new.services == ("http://e/s",)
    assert new.environment == "production"


def test_two_environments_are_none() -> None:
    found = meet([], [heard(WEB, environment="production"), heard(WEB, environment="staging")])
    assert [item.environment for item in found.new] == [""]


def test_a_kind_is_no_other() -> None:
    found = meet([asset("it", Locators(container="web"), "kubernetes")], [seen(BOX)])
    assert not found.known
    assert len(found.new) == 1


def test_an_unnamed_cluster_is_not_guessed_among_several() -> None:
    other = Locators("", 0, "", "other", "shop", "deployment/web")
    among_sightings = meet([], [seen(WEB), seen(other), heard(OPEN, services=("http://e/s",))])
    assert [item.services for item in among_sightings.new] == [(), ()]
    assert [why for _, why in among_sightings.unclear] == [
        "several clusters have a workload of that name"
    ]
    among_assets = meet([asset("a", WEB), asset("b", other)], [heard(OPEN, state="running")])
    assert not among_assets.known
    assert [why for _, why in among_assets.unclear] == ["it could be any of a, b"]
    of_one_asset = meet([asset("a", OPEN)], [seen(WEB), seen(other)])
    assert not of_one_asset.known
    assert not of_one_asset.new
    assert len(of_one_asset.unclear) == 2


def test_containers_of_a_workload_are_told_apart() -> None:
    assets = [asset("app", at("app")), asset("proxy", at("proxy")), asset("all", WEB)]
    sightings = [
        seen(WEB, state="running"),
        heard(at("app"), services=("http://e/app",), projects=("shop",)),
        heard(at("proxy"), services=("http://e/proxy",)),
        heard(at("other"), services=("http://e/other",)),
        heard(WEB, services=("http://e/untold",)),
    ]
    found = meet(assets, sightings)
    assert {name: item.services for name, item in found.known.items()} == {
        "app": ("http://e/app",),
        "proxy": ("http://e/proxy",),
        "all": ("http://e/other",),
    }
    assert {item.state for item in found.known.values()} == {"running"}
    alone = meet([asset("web", WEB)], sightings)
    assert len(alone.known["web"].services) == 4


def test_two_assets_at_one_place_are_unclear() -> None:
    found = meet([asset("a", BOX), asset("b", BOX)], [seen(BOX, state="running")])
    assert not found.known
    assert [why for _, why in found.unclear] == ["it could be any of a, b"]


def test_a_hint_meets_what_is_known_and_makes_nothing() -> None:
    hint = heard(Locators(container="box"), hint=True, services=("http://e/s",))
    nothing = meet([], [hint])
    assert (nothing.new, nothing.known, nothing.unmet) == ((), {}, 1)
    met = meet([asset("it", BOX)], [hint])
    assert met.known["it"].services == ("http://e/s",)
    assert met.known["it"].state is None
    with_its_host = meet([asset("it", BOX)], [hint, seen(BOX, state="stopped")])
    assert with_its_host.known["it"].state == "stopped"
    assert with_its_host.known["it"].services == ("http://e/s",)
    elsewhere = heard(Locators(node="laptop", container="box"), hint=True)
    (new,) = meet([], [elsewhere, seen(BOX)]).new
    assert new.locators == BOX


def test_a_hint_meets_by_what_a_host_calls_the_machine() -> None:
    machine = seen(Locators("pve", 104), source="proxmox", state="running", names=("web",))
    hint = heard(Locators(container="web"), hint=True, services=("http://e/s",))
    found = meet([asset("it", Locators("pve", 104))], [machine, hint, hint])
    assert found.known["it"].services == ("http://e/s",)


def test_a_hint_that_could_be_of_two_is_of_none() -> None:
    assets = [asset("a", Locators(node="one", container="box")), asset("b", BOX)]
    other = Locators(node="two", container="box")
    assert meet(assets, [heard(other, hint=True)]).unmet == 1
    named = meet(assets, [heard(assets[0].locators, hint=True, state="running")])
    assert list(named.known) == ["a"]


PLACES = st.one_of(
    st.builds(
        Locators,
        node=st.sampled_from(["", "n"]),
        vmid=st.sampled_from([0, 104]),
        container=st.sampled_from(["104", "box", "web"]),
    ),
    st.builds(
        Locators,
        cluster=st.sampled_from(["", "c", "d"]),
        namespace=st.sampled_from(["shop", "pay"]),
        workload=st.sampled_from(["deployment/web", "job/x"]),
        container=st.sampled_from(["", "app"]),
    ),
)
SIGHTINGS = st.builds(
    seen,
    PLACES,
    state=st.sampled_from([None, "running", "stopped"]),
    at=st.sampled_from([AT, AT + timedelta(seconds=1)]),
    names=st.sampled_from([(), ("box",), ("web", "box")]),
    services=st.sampled_from([(), ("http://e/s",)]),
    hint=st.booleans(),
)


@given(st.lists(SIGHTINGS, max_size=8), st.lists(PLACES, max_size=4), st.randoms())
def test_the_order_makes_no_difference(
    sightings: list[Sighting], places: list[Locators], random: object
) -> None:
    assets = [asset(f"a{number}", place) for number, place in enumerate(places)]
    found = meet(assets, sightings)
    assert meet(reversed(assets), [*reversed(sightings), *sightings]) == found
    shuffled = list(sightings)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert meet(assets, shuffled) == found


@given(st.lists(SIGHTINGS, max_size=8), st.lists(PLACES, max_size=4))
def test_what_is_known_is_at_its_place(sightings: list[Sighting], places: list[Locators]) -> None:
    assets = {f"a{number}": asset(f"a{number}", place) for number, place in enumerate(places)}
    found = meet(assets.values(), sightings)
    for name, item in found.known.items():
        assert item.kind == assets[name].kind
        if not any(s.hint for s in sightings):
            assert any(same_place(item.kind, assets[name].locators, s.locators) for s in sightings)
    for new in found.new:
        assert not any(
            asset.kind == new.kind and same_place(new.kind, asset.locators, new.locators)
            for asset in assets.values()
        )


@pytest.mark.parametrize(
    ("owner", "sender", "state"),
    [
        ("shop", "shop", "running"),
        ("shop", "billing", None),
        ("", "billing", "running"),
    ],
)
def test_what_others_send_does_not_tell_how_a_project_s_machine_is(
    owner: str, sender: str, state: str | None
) -> None:
    known = replace(asset("web", WEB), project=f"http://e/project/{owner}" if owner else "")
    meeting = meet([known], [heard(WEB, projects=(sender,), state="running")])
    assert meeting.known["web"].state == state
    host = seen(WEB, state="stopped")
    assert meet([known], [host, heard(WEB, state="running")]).known["web"].state == "stopped"
