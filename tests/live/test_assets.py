"""A topology on a running platform: proposed, decided, read by role and at earlier heads, taken out
again, and refused by the gate where the shapes refuse it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.live.conftest import Platform, RunCommand

pytestmark = pytest.mark.live

TOPOLOGY = """topology: main
owner: organisation/organisation
roles:
  scheduler: {exclusive: true}
assets:
  - id: box
    kind: lxc
    roles: [scheduler, worker]
    environment: production
    locators: {vmid: 104}
    urls: {executor: "http://box.internal:2280/"}
    permits: [{argv: [python, -V], effect: reads}]
"""
MORE = """  - id: other
    kind: lxc
    roles: [worker]
    environment: production
    locators: {vmid: 105}
"""


def apply(
    platform: Platform, command: RunCommand, folder: Path, text: str
) -> tuple[int, dict[str, Any]]:
    """Proposes a topology, and has the second operator approve it; exit code and proposal."""
    file = folder / "topology.yaml"
    file.write_text(text)
    data = platform.server.data
    ended = command("infra", "apply", file, "--data", data, "--output", "json")
    proposal: dict[str, Any] = json.loads(ended.text[ended.text.index("{") :])
    if ended.code == 0:
        assert proposal["state"] == "awaiting decision"
        with platform.client("second") as client:
            answer = client.post(
                f"/proposals/{proposal['id']}/decisions",
                json={"outcome": "approve", "reason": "seen"},
            )
        assert answer.status_code == 200, answer.text
        proposal = answer.json()
        # From now on everybody reads it.
        names(platform, min_head=proposal["head"])
    return ended.code, proposal


def names(platform: Platform, **parameters: str | int) -> list[str]:
    with platform.client("analyst") as client:
        answer = client.get("/runtime-assets", params=parameters)
    assert answer.status_code == 200, answer.text
    return [item["asset_id"] for item in answer.json()["items"]]


def test_a_topology_becomes_true_when_somebody_else_says_so(
    platform: Platform, command: RunCommand, tmp_path: Path
) -> None:
    data = platform.server.data
    before = platform.server.head
    _, first = apply(platform, command, tmp_path, TOPOLOGY)
    shown = command("runtime-assets", "show", "--role", "worker", "--data", data)
    assert "http://box.internal:2280/" in shown.text
    code, _ = apply(platform, command, tmp_path, TOPOLOGY + MORE)
    assert code == 0
    shown = command("runtime-assets", "show", "--role", "worker", "--data", data)
    assert shown.code == 1
    assert "box, other" in shown.text
    _, last = apply(platform, command, tmp_path, "topology: main\n")
    assert names(platform, min_head=last["head"]) == []
    assert names(platform, at=before) == []
    assert names(platform, at=first["head"]) == ["box"]
    assert names(platform, at=last["head"] - 1, role="worker") == ["box", "other"]


def test_the_gate_refuses_what_the_shapes_refuse(
    platform: Platform, command: RunCommand, tmp_path: Path
) -> None:
    apply(platform, command, tmp_path, TOPOLOGY)
    other = MORE.replace("worker", "scheduler").replace("other", "second-box")
    file = tmp_path / "other.yaml"
    file.write_text(f"topology: second\nowner: organisation/organisation\nassets:\n{other}")
    data = platform.server.data
    ended = command("infra", "apply", file, "--data", data)
    assert ended.code == 1
    assert "The role is exclusive and another asset of this environment has it" in ended.text
    file.write_text("topology: second\nowner: principal/nobody\nassets:\n" + MORE)
    ended = command("infra", "apply", file, "--data", data)
    assert ended.code == 1
    assert "State exactly one fo:ownedBy" in ended.text
    assert "second-box" not in names(platform)
