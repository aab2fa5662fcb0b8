"""Assets are found by id and by role, and what is written reads back the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ontology.ids import Ids
from runtime.asset_graph import AssetGraph, read_assets
from runtime.asset_quads import Statements
from runtime.assets import (
    AssetRole,
    Authentication,
    IntegrationEndpoint,
    Locators,
    RuntimeAsset,
    Status,
)
from runtime.errors import AmbiguousRole, UnknownAsset
from runtime.permitted_actions import PermittedCommand, PermittedRequest
from runtime.urls import ExecutorUrl, InternalUrl, PublicUrl

IDS = Ids()
OWNER = IDS.organisation("acme")
NAMES = st.from_regex(r"[a-z][a-z0-9._-]{0,8}", fullmatch=True)
SETS = st.lists(NAMES, max_size=3, unique=True).map(lambda names: tuple(sorted(names)))
COMMANDS = st.builds(
    PermittedCommand,
    st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=3).map(tuple),
    st.sampled_from(["reads", "changes"]),
)
REQUESTS = st.builds(
    PermittedRequest,
    st.lists(st.sampled_from(["GET", "POST"]), min_size=1, unique=True).map(
        lambda methods: tuple(sorted(methods))
    ),
    NAMES.map(lambda name: f"/{name}"),
    st.sampled_from(["reads", "changes"]),
)
ASSETS = st.builds(
    RuntimeAsset,
    asset_id=NAMES,
    kind=st.sampled_from(["lxc", "kubernetes"]),
    owner=st.just(OWNER),
    locators=st.builds(Locators, node=NAMES, vmid=st.integers(0, 9999), workload=NAMES),
    label=NAMES,
    roles=SETS,
    project=st.sampled_from(["", IDS.project("shop")]),
    environment=st.sampled_from(["", IDS.environment("production")]),
    capabilities=SETS,
    permits=st.tuples(st.sets(COMMANDS, max_size=2), st.sets(REQUESTS, max_size=2)).map(
        lambda both: (*sorted(both[0]), *sorted(both[1]))
    ),
    public=NAMES.map(lambda name: (PublicUrl.parse(f"https://{name}.example.org"),)),
    executor=st.none() | NAMES.map(lambda name: ExecutorUrl.parse(f"http://{name}.svc/control")),
    internal=NAMES.map(lambda name: (InternalUrl.parse(f"http://{name}.svc"),)),
    status=st.none()
    | st.just(Status("running", "2026-11-01T10:00:00Z", (IDS.evidence("0a" * 32),))),
    declared_in=st.sampled_from(["", "main"]),
)


@given(st.lists(ASSETS, max_size=3, unique_by=lambda asset: asset.asset_id))
def test_what_is_written_reads_back_the_same(assets: list[RuntimeAsset]) -> None:
    stated = Statements(IDS)
    iris = [stated.asset(asset) for asset in assets]
    read = read_assets(stated.triples)
    assert list(read.assets.values()) == sorted(assets, key=lambda asset: asset.asset_id)
    assert {asset.iri for asset in read.assets.values()} == set(iris)


def test_endpoints_and_roles_read_back_the_same() -> None:
    endpoint = IntegrationEndpoint(
        "nexus",
        OWNER,
        "/health",
        Authentication("bearer", "bao://kv/nexus#token"),
        product="nexus",
        public=(PublicUrl.parse("https://nexus.example.org"),),
        internal=(InternalUrl.parse("http://nexus.svc:8081"),),
    )
    roles = [AssetRole("scheduler", True, "main"), AssetRole("worker")]
    stated = Statements(IDS)
    stated.endpoint(endpoint)
    for role in roles:
        stated.role(role)
    read = read_assets(stated.triples)
    assert read.endpoint("nexus") == endpoint
    assert list(read.roles.values()) == roles
    assert endpoint.urls[0] == InternalUrl.parse("http://nexus.svc:8081")


def asset(name: str, *roles: str, environment: str = "") -> RuntimeAsset:
    iri = IDS.environment(environment) if environment else ""
    return RuntimeAsset(name, "lxc", OWNER, Locators(vmid=7), roles=roles, environment=iri)


GRAPH = AssetGraph(
    [asset("a", "web", environment="production"), asset("b", "web"), asset("c", "queue")]
)


def test_an_asset_by_its_id_and_by_a_role_that_it_alone_has() -> None:
    assert GRAPH.asset("b").asset_id == "b"
    assert GRAPH.by_role("queue").asset_id == "c"
    assert GRAPH.by_role("web", IDS.environment("production")).asset_id == "a"


def test_several_candidates_are_listed_and_none_is_taken() -> None:
    with pytest.raises(AmbiguousRole, match="2 runtime assets have the role 'web': a, b") as caught:
        GRAPH.by_role("web")
    assert caught.value.candidates == ("a", "b")


def test_a_role_of_another_environment_is_told_with_its_assets() -> None:
    production = IDS.environment("production")
    with pytest.raises(UnknownAsset, match=f"there are a in <{production}>, b in no environment$"):
        GRAPH.by_role("web", IDS.environment("test"))


@pytest.mark.parametrize("locator", ["7", "vmid", "nobody"])
def test_what_is_unknown_is_told_with_what_there_is(locator: str) -> None:
    with pytest.raises(UnknownAsset, match=r"there are a, b, c$"):
        GRAPH.asset(locator)
    with pytest.raises(UnknownAsset, match=r"there are queue, web$"):
        GRAPH.by_role(locator)
    with pytest.raises(UnknownAsset, match="there are none yet"):
        GRAPH.endpoint(locator)


def test_a_message_names_a_few_of_many() -> None:
    many = AssetGraph([asset(f"a{number:03}") for number in range(100)])
    with pytest.raises(UnknownAsset, match=r"a019 and 80 more$"):
        many.asset("x")
