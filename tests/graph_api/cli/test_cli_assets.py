"""``runtime-assets``, ``endpoints`` and ``infra``: what is chosen, refused, and proposed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pyoxigraph import RdfFormat, serialize

from ontology.ids import Ids
from runtime.topology import read_topology
from runtime.topology_shapes import statements

if TYPE_CHECKING:
    from tests.graph_api.cli.conftest import FakeServer, Result

Run = Callable[..., "Result"]

IDS = Ids()
BOX = {
    "asset_id": "box",
    "iri": IDS.runtime_asset("box"),
    "kind": "lxc",
    "roles": ["daytona_runtime"],
    "owner": IDS.organisation("acme"),
    "environment": IDS.environment("production"),
    "status": {"state": "running", "since": "2026-11-01T10:00:00Z", "evidence": []},
    "permits": [{"argv": ["df", "-h", "a b"], "effect": "reads"}],
    "urls": {"public": [], "executor": "http://box:2280/", "internal": []},
    "locators": {"vmid": 104},
}
NEXUS = {
    "endpoint_id": "nexus",
    "product": "nexus",
    "url": "http://nexus.svc:8081/",
    "authentication": {"scheme": "bearer", "reference": "bao://kv/nexus#token"},
    "readiness_path": "/status",
}
TOPOLOGY = """topology: main
owner: organisation/acme
assets:
  - id: web
    kind: lxc
    environment: production
    locators: {container: web}
"""


@pytest.fixture
def topology(tmp_path: Path) -> Path:
    path = tmp_path / "a topology.yaml"
    path.write_text(TOPOLOGY)
    return path


def test_a_list_by_role(fake: FakeServer, data: Path, run: Run) -> None:
    fake.says("GET /runtime-assets", {"head": 7, "items": [BOX]})
    shown = run("runtime-assets", "list", "--role", "daytona_runtime", "--at", "7", "--data", data)
    assert shown.code == 0
    assert fake.last.query == {"role": ["daytona_runtime"], "at": ["7"]}
    assert shown.out.splitlines()[1].split()[:6] == [
        *("box", "lxc", "daytona_runtime", "production", "acme", "running"),
    ]
    shown = run("--output", "json", "runtime-assets", "list", "--data", data)
    assert json.loads(shown.out) == [BOX]


def test_one_by_role_and_by_id(fake: FakeServer, data: Path, run: Run) -> None:
    fake.says("GET /runtime-assets", {"head": 7, "items": [BOX]})
    fake.says("GET /runtime-assets/box", {"head": 7, **BOX})
    for option in (("--role", "daytona_runtime"), ("--asset-id", "box")):
        shown = run("runtime-assets", "show", *option, "--data", data)
        assert shown.code == 0
        assert "executor URL" in shown.out
        assert "df -h 'a b' (reads)" in shown.out
        assert "locator: vmid" in shown.out


def test_several_with_a_role_are_listed(fake: FakeServer, data: Path, run: Run) -> None:
    fake.says("GET /runtime-assets", {"items": [BOX, {**BOX, "asset_id": "other"}]})
    shown = run("runtime-assets", "show", "--role", "daytona_runtime", "--data", data)
    assert (shown.code, shown.out) == (1, "")
    assert "2 runtime assets have the role 'daytona_runtime': box, other." in shown.err


def test_an_unknown_role_says_which_there_are(fake: FakeServer, data: Path, run: Run) -> None:
    from starlette.responses import JSONResponse

    fake.answers["GET /runtime-assets"] = lambda seen: JSONResponse(
        {"items": [] if "role" in seen.query else [BOX]}
    )
    shown = run("runtime-assets", "show", "--role", "104", "--data", data)
    assert shown.code == 1
    assert "there are daytona_runtime" in shown.err


@pytest.mark.parametrize("options", [(), ("--asset-id", ""), ("--asset-id", "a", "--role", "b")])
def test_an_asset_is_named_one_way(data: Path, run: Run, options: tuple[str, ...]) -> None:
    for verb in ("show", "check"):
        assert run("runtime-assets", verb, *options, "--data", data).code == 2


@pytest.mark.parametrize(
    "words",
    [
        ("endpoints", "show", ""),
        ("runtime-assets", "show", "--asset-id", "../status"),
        ("runtime-assets", "run", "--asset-id", "a/b", "--", "true"),
        ("runtime-assets", "cancel", ""),
    ],
)
def test_what_is_no_name_is_not_asked_for(
    fake: FakeServer, data: Path, run: Run, words: tuple[str, ...]
) -> None:
    at = words.index("--") if "--" in words else len(words)
    ended = run(*words[:at], "--data", data, *words[at:])
    assert (ended.code, fake.seen) == (1, [])
    assert "a name is not empty and has no slash" in ended.err


def test_a_role_of_another_environment_is_told_as_that(
    fake: FakeServer, data: Path, run: Run
) -> None:
    from starlette.responses import JSONResponse

    fake.answers["GET /runtime-assets"] = lambda seen: JSONResponse(
        {"items": [] if "role" in seen.query else [BOX]}
    )
    asked = ("--role", "daytona_runtime", "--environment", "test", "--data", data)
    shown = run("runtime-assets", "show", *asked)
    assert shown.code == 1
    assert f"elsewhere box ({IDS.environment('production')})" in shown.err


def test_endpoints(fake: FakeServer, data: Path, run: Run) -> None:
    fake.says("GET /endpoints", {"items": [NEXUS]})
    fake.says("GET /endpoints/nexus", NEXUS)
    assert "http://nexus.svc:8081/" in run("endpoints", "list", "--data", data).out
    assert "bao://kv/nexus#token" in run("endpoints", "show", "nexus", "--data", data).out


# --- the topology


def test_a_sound_topology_needs_no_server(topology: Path, run: Run) -> None:
    shown = run("infra", "validate", topology, "--output", "json")
    assert json.loads(shown.out) == {"topology": "main", "assets": 1, "endpoints": 0, "roles": 0}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("kind: lxc", "kind: vm", "line 5, assets[0].kind"),
        ("{container: web}", "{node: web, container: a}", "line 4, assets[0]: The fo:assetId is"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    topology: Path, run: Run, old: str, new: str, said: str
) -> None:
    topology.write_text(TOPOLOGY.replace(old, new))
    shown = run("infra", "validate", topology)
    assert (shown.code, shown.out) == (1, "")
    assert said in shown.err


def test_a_command_that_runs_anything_is_warned_of(topology: Path, run: Run) -> None:
    topology.write_text(f"{TOPOLOGY}    permits: [{{argv: [bash, -c, '*'], effect: changes}}]\n")
    shown = run("infra", "validate", topology)
    assert shown.code == 0
    assert "bash does whatever its arguments say" in shown.err


def test_variables_are_made_and_checked(
    topology: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "FRACTALOPS_ASSET_WEB_ID=web\nFRACTALOPS_TOPOLOGY=main\n"
    made = tmp_path / "made.env"
    assert run("infra", "generate-env", topology).out == lines
    assert json.loads(run("infra", "generate-env", topology, "--output", "json").out) == {
        "FRACTALOPS_ASSET_WEB_ID": "web",
        "FRACTALOPS_TOPOLOGY": "main",
    }
    assert run("infra", "generate-env", topology, "--env-file", made).out == ""
    assert made.read_text() == lines
    assert run("infra", "env-check", topology, "--env-file", made).code == 0
    made.write_text("FRACTALOPS_ASSET_WEB_ID=hunter2\n")
    shown = run("infra", "env-check", topology, "--env-file", made, "--output", "json")
    assert shown.code == 1
    assert json.loads(shown.out) == [
        {"name": "FRACTALOPS_ASSET_WEB_ID", "difference": "different"},
        {"name": "FRACTALOPS_TOPOLOGY", "difference": "missing"},
    ]
    monkeypatch.setenv("FRACTALOPS_ASSET_WEB_ID", "web")
    monkeypatch.setenv("FRACTALOPS_TOPOLOGY", "main")
    assert run("infra", "env-check", topology).code == 0


def proposes(fake: FakeServer, stated: bytes | None) -> None:
    fake.says("GET /status", {"base": IDS.base})
    if stated is None:
        fake.refuses("GET /graphs/assets", 404, "Not found", "there is none")
    else:
        head = {"FractalOps-Head": "7"}
        fake.says("GET /graphs/assets", stated, media_type="application/n-triples", headers=head)
    fake.says("POST /proposals", {"id": "p1", "state": "awaiting decision"}, status=202)


def test_a_topology_is_proposed(fake: FakeServer, data: Path, topology: Path, run: Run) -> None:
    proposes(fake, None)
    shown = run("infra", "apply", topology, "--data", data, "--output", "json")
    assert (shown.code, json.loads(shown.out)["state"]) == (0, "awaiting decision")
    assert "new: runtime-asset/web" in shown.err
    sent: Any = fake.last
    assert sent.headers["content-type"] == "application/rdf-patch"
    assert sent.query["rationale"] == ["the topology main"]
    rows = sent.body.decode().splitlines()
    assert {row[:2] for row in rows} == {"A "}
    assert all(row.endswith(f" <{IDS.graph('assets')}> .") for row in rows)


def test_the_difference_alone_is_proposed(
    fake: FakeServer, data: Path, topology: Path, run: Run
) -> None:
    stated = serialize(
        statements(read_topology(topology.read_bytes(), IDS), IDS), format=RdfFormat.N_TRIPLES
    )
    proposes(fake, stated)
    shown = run("infra", "apply", topology, "--data", data)
    assert (shown.code, shown.out) == (0, "")
    assert "says all of it already" in shown.err
    topology.write_text(TOPOLOGY.replace("container: web", "container: web2"))
    shown = run("infra", "apply", topology, "--data", data)
    assert "changed: runtime-asset/web" in shown.err
    rows = fake.last.body.decode().splitlines()
    assert [row[0] for row in rows] == ["D", "A"]
    assert fake.last.headers["if-match"] == '"7"'
