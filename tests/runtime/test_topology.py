"""A topology is read whole or refused whole, with the line of everything that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyoxigraph import Literal, NamedNode, Triple

from ontology.ids import Ids
from ontology.vocab import Fo, Rdfs, Xsd
from runtime.asset_graph import read_assets
from runtime.errors import TopologyError
from runtime.topology import Topology, read_topology
from runtime.topology_change import Change, change
from runtime.topology_environment import (
    Difference,
    differences,
    read_environment,
    render,
    variables,
)
from runtime.topology_shapes import complaints, statements
from runtime.topology_text import MAX_BYTES, MAX_DEPTH, MAX_NODES

IDS = Ids()
HEAD = "topology: main\nowner: organisation/acme\n"
WEB = """assets:
  - id: web
    kind: lxc
    locators: {container: web}
"""


def read(text: str) -> Topology:
    return read_topology(text.encode(), IDS)


def faults(text: str | bytes) -> list[str]:
    with pytest.raises(TopologyError) as caught:
        read_topology(text if isinstance(text, bytes) else text.encode(), IDS)
    return list(caught.value.faults)


@pytest.fixture(scope="module")
def example(checkout: Path) -> Topology:
    return read_topology((checkout / "examples" / "topology.yaml").read_bytes(), IDS)


def test_the_example_is_sound_and_reads_back_from_its_statements(example: Topology) -> None:
    assert complaints(example, IDS) == []
    graph = read_assets(statements(example, IDS))
    assert set(graph.assets.values()) == set(example.assets)
    assert set(graph.endpoints.values()) == set(example.endpoints)
    assert tuple(graph.roles.values()) == example.roles


REFUSED = {
    "nothing": ("", "the file is empty"),
    "a list": ("- a\n", "line 1: "),
    "no yaml": ("a: [b\n", "line 2, column 1: no YAML"),
    "no text": (b"topology: \xff\n", "line 1: the file is no UTF-8"),
    "an alias": ("a: &b [1]\nc: *b\n", "line 1: anchors and aliases are not read"),
    "a tag": ("topology: !!python/object:os.system main\n", "line 1: tags are not read"),
    "a key twice": (f"{HEAD}owner: organisation/b\n", "line 3: the key 'owner' stands here twice"),
    "two documents": (f"{HEAD}---\na: b\n", "no YAML"),
    "a key that is a list": ("? [a]\n: b\n", "line 1: a key must be a text"),
    "control characters": ("topology: a\x07\n", "no YAML"),
    "depth": ("topology: " + "[" * (MAX_DEPTH + 1), f"more than a depth of {MAX_DEPTH}"),
    "values": ("- a\n" * (MAX_NODES + 1), f"more than {MAX_NODES} values"),
    "size": ("#" * (MAX_BYTES + 1), "bytes; 1048576 are the most"),
    "no name": ("owner: organisation/a\n", "line 1, topology: it is missing"),
    "an unknown key": (
        f"{HEAD}{WEB}    password: hunter2\n",
        "line 7, assets[0].password: nothing",
    ),
    "a number for an id": (HEAD + WEB.replace("id: web", "id: 104"), "line 4, assets[0].id: it mu"),
    "a text for a vmid": (HEAD + WEB.replace("container: web", 'vmid: "7"'), "locators.vmid"),
    "no owner": (f"topology: main\n{WEB}", "line 3, assets[0]: it has no owner"),
    "an owner of no kind": (f"topology: main\nowner: acme\n{WEB}", "line 2, owner: "),
    "another kind": (HEAD + WEB.replace("lxc", "vm"), "line 5, assets[0].kind: "),
    "an id twice": (f"{HEAD}{WEB}  - {{id: web, kind: lxc}}\n", "line 7, assets[1].id: 'web' is d"),
    "services of nothing": (f"{HEAD}{WEB}    services: [web]\n", "services belong to a project"),
    "an address with a password": (
        f"{HEAD}{WEB}    urls: {{public: 'https://a:hunter2@b/'}}\n",
        "line 7, assets[0].urls.public: no public URL",
    ),
    "an action of no kind": (
        f"{HEAD}{WEB}    permits: [{{argv: [id], path: /a, effect: reads}}]\n",
        "line 7, assets[0].permits[0]: say argv",
    ),
    "any program": (
        f"{HEAD}{WEB}    permits: [{{argv: ['*'], effect: reads}}]\n",
        "the program, the first argument, is spelled out",
    ),
    "dots in between": (
        f"{HEAD}{WEB}    permits: [{{argv: [id, ..., a], effect: reads}}]\n",
        "three dots stand for further arguments",
    ),
    "a path with a query": (
        f"{HEAD}{WEB}    permits: [{{methods: [GET], path: '/a?b', effect: reads}}]\n",
        "a path begins with a slash",
    ),
    "stars in between": (
        f"{HEAD}{WEB}    permits: [{{methods: [GET], path: '/**/a', effect: reads}}]\n",
        "two stars stand for further segments",
    ),
    "a path that a shell reads": (
        f"{HEAD}endpoints:\n  - {{id: a, urls: {{}}, readiness: /$(id)}}\n",
        "line 4, endpoints[0].readiness: ",
    ),
    "an endpoint to control": (
        f"{HEAD}endpoints:\n  - {{id: a, urls: {{executor: 'http://b/'}}, readiness: /}}\n",
        "line 4, endpoints[0].urls.executor: nothing of this name is known here",
    ),
}


@pytest.mark.parametrize(("text", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_told_with_its_line(text: str | bytes, said: str) -> None:
    found = faults(text)
    assert any(said in fault for fault in found), found
    assert "hunter2" not in "".join(found)


def test_every_fault_is_told() -> None:
    assert len(faults(f"topology: main\n{WEB}    urls: {{public: a, executor: b}}\n")) == 3


def test_plain_words_are_texts() -> None:
    topology = read(f"{HEAD}{WEB}    label: no\n    environment: '1'\n".replace("web", "on"))
    assert (topology.assets[0].asset_id, topology.assets[0].label) == ("on", "no")
    assert topology.environments == ("1",)


SHAPED = {
    "a locator as an id": (WEB.replace("container: web", "node: web, container: a"), "locators"),
    "a public authority": (
        f"{WEB}    urls: {{public: 'https://a.example/', executor: 'http://a.example/run'}}\n",
        "host and port of this public URL",
    ),
    "one address of two kinds": (
        f"{WEB}    urls: {{executor: 'http://a.svc/', internal: 'http://a.svc'}}\n",
        "An address is of one kind",
    ),
    "an exclusive role": (
        "roles: {web: {exclusive: true}}\n"
        + WEB.replace("kind", "roles: web\n    environment: a\n    kind")
        + "  - {id: b, kind: lxc, roles: web, environment: a, locators: {container: b}}\n",
        "role is exclusive",
    ),
    "a secret": (
        "endpoints:\n  - id: a\n    urls: {internal: 'http://a.svc/'}\n    readiness: /\n"
        "    auth: {scheme: bearer, reference: hunter2}\n",
        "The secret itself never enters the graph",
    ),
}


@pytest.mark.parametrize(("text", "said"), SHAPED.values(), ids=SHAPED)
def test_what_the_shapes_refuse_is_told_with_its_line(text: str, said: str) -> None:
    found = complaints(read(HEAD + text), IDS)
    assert found
    assert all(fault.startswith("line ") for fault in found)
    assert any(said in fault for fault in found), found


# --- the difference to the graph


def test_a_topology_that_is_applied_changes_nothing_more(example: Topology) -> None:
    made = change(example, IDS, ())
    assert (made.removals, made.changed, made.gone) == (frozenset(), (), ())
    assert len(made.new) == 5
    again = change(example, IDS, made.additions)
    assert again == Change(frozenset(), frozenset())


def test_what_is_no_longer_declared_goes_with_all_that_only_it_led_to(example: Topology) -> None:
    applied = statements(example, IDS)
    empty = change(read("topology: acme\n"), IDS, applied)
    environment = NamedNode(IDS.environment("production"))
    assert {triple.subject for triple in applied - empty.removals} == {environment}
    assert len(empty.gone) == 5


def test_what_others_say_is_left_alone() -> None:
    web = NamedNode(IDS.runtime_asset("web"))
    found = NamedNode(IDS.runtime_asset("found"))
    declared = NamedNode(Fo.declaredIn)
    since = Literal("2026-11-01T10:00:00Z", datatype=NamedNode(Xsd.dateTime))
    others = {
        Triple(web, NamedNode(Fo.assetStatus), Literal("running")),
        Triple(web, NamedNode(Fo.statusSince), since),
        Triple(web, NamedNode("http://www.w3.org/2000/01/rdf-schema#comment"), Literal("good")),
        Triple(found, NamedNode(Fo.assetId), Literal("found")),
        Triple(NamedNode(IDS.runtime_asset("b")), declared, Literal("other")),
    }
    stale = {Triple(web, NamedNode(Fo.assetRole), Literal("old"))}
    topology = read(HEAD + WEB)
    made = change(topology, IDS, {*statements(topology, IDS), *others, *stale})
    assert not made.additions
    assert made.removals == stale
    assert made.changed == (web.value,)


def test_an_address_that_another_asset_has_stays() -> None:
    url = "    urls: {internal: 'http://a.svc/'}\n"
    both = f"{HEAD}{WEB}{url}  - id: b\n    kind: lxc\n    locators: {{container: b}}\n{url}"
    made = change(read(f"{HEAD}{WEB}{url}"), IDS, statements(read(both), IDS))
    assert made.gone == (IDS.runtime_asset("b"),)
    assert {t.subject for t in made.removals} == {NamedNode(IDS.runtime_asset("b"))}


def test_what_was_seen_stays_where_a_topology_says_nothing_of_them() -> None:
    silent = read(HEAD + WEB)
    asset = NamedNode(IDS.runtime_asset("web"))
    seen = {
        "services": Triple(asset, NamedNode(Fo.hosts), NamedNode(IDS.service("shop", "cart"))),
        "capabilities": Triple(asset, NamedNode(Fo.capability), Literal("run")),
    }
    stated = {*statements(silent, IDS), *seen.values()}
    assert change(silent, IDS, stated) == Change(frozenset(), frozenset())
    for key, triple in seen.items():
        speaking = read(f"{HEAD}{WEB}    {key}: []\n")
        assert change(speaking, IDS, stated).removals == {triple}


def test_a_changed_action_makes_its_asset_changed() -> None:
    permit = "    permits: [{argv: [id], effect: reads}]\n"
    before = statements(read(HEAD + WEB + permit), IDS)
    made = change(read(HEAD + WEB + permit.replace("reads", "changes")), IDS, before)
    assert made.changed == (IDS.runtime_asset("web"),)
    assert len({t.subject for t in made.removals}) == 2


def test_two_topologies_declare_no_same_thing() -> None:
    stated = statements(read(f"topology: other\nowner: organisation/a\n{WEB}"), IDS)
    with pytest.raises(TopologyError, match=r"line 4, assets\[0\]: the topology 'other' de"):
        change(read(HEAD + WEB), IDS, stated)


def test_what_was_found_is_taken_over() -> None:
    topology = read(HEAD + WEB)
    found = {t for t in statements(topology, IDS) if t.predicate.value != Fo.declaredIn}
    made = change(topology, IDS, found)
    assert {t.predicate.value for t in made.additions} == {Fo.declaredIn}
    assert made.changed == (IDS.runtime_asset("web"),)


# --- environment variables


def test_the_variables_of_the_example(example: Topology) -> None:
    found = variables(example, IDS)
    golden = Path(__file__).parent / "golden" / "example.env"
    assert render(found) == golden.read_text(encoding="utf-8")
    assert read_environment(render(found).encode()) == found
    assert differences(found, {**found, "PATH": "/bin"}) == []


def test_the_variables_of_one_environment() -> None:
    text = f"""{HEAD}assets:
  - {{id: a, kind: lxc, roles: web, environment: one, locators: {{container: a}}}}
  - {{id: b, kind: lxc, roles: web, environment: two, locators: {{container: b}}}}
  - {{id: c, kind: lxc, locators: {{container: c}}}}
"""
    names = set(variables(read(text), IDS, "two"))
    assert names == {
        "FRACTALOPS_ASSET_B_ID",
        "FRACTALOPS_ASSET_C_ID",
        "FRACTALOPS_ROLE_WEB_ASSET_ID",
        "FRACTALOPS_TOPOLOGY",
    }
    assert "FRACTALOPS_ROLE_WEB_ASSET_ID" not in variables(read(text), IDS)


def test_names_that_differ_in_punctuation_are_refused() -> None:
    text = HEAD + WEB.replace("id: web", "id: a-b") + "  - {id: a.b, kind: lxc}\n"
    with pytest.raises(TopologyError, match=r"the asset a\.b and the asset a-b would both be"):
        variables(read(text), IDS)


def test_differences_are_named_and_no_value_is_told(example: Topology) -> None:
    found = variables(example, IDS)
    there = dict(found)
    del there["FRACTALOPS_ASSET_WORKBENCH_ID"]
    there["FRACTALOPS_ENDPOINT_ARTIFACTS_AUTH_REFERENCE"] = "hunter2"
    there["FRACTALOPS_ASSET_OLD_ID"] = "old"
    assert differences(found, there) == [
        Difference("FRACTALOPS_ASSET_OLD_ID", "not declared"),
        Difference("FRACTALOPS_ASSET_WORKBENCH_ID", "missing"),
        Difference("FRACTALOPS_ENDPOINT_ARTIFACTS_AUTH_REFERENCE", "different"),
    ]


def test_environment_files_as_people_write_them() -> None:
    text = b"# a\n\nexport A=1\nB = 2\n"
    with pytest.raises(TopologyError, match="line 4 of the environment file"):
        read_environment(text)
    text = b"# a\n\nexport A=1\n B='2 3' \nC=\"d\"\nE=\r\nF='\n"
    assert read_environment(text) == {"A": "1", "B": "2 3", "C": "d", "E": "", "F": "'"}


def test_labels_of_environments_are_stated(example: Topology) -> None:
    labels = {t for t in statements(example, IDS) if t.predicate.value == Rdfs.label}
    assert NamedNode(IDS.environment("production")) in {t.subject for t in labels}
