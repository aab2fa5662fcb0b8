"""A machine of a Proxmox VE under the control of a running server: chosen by role, found by node
and number, reached with a token that stays where it is.

The Proxmox VE is the one that :mod:`tests.live.pve_server` plays.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.live.conftest import COMMAND, Server, own_environment, serving, wait_until
from tests.live.pve_server import TOKEN, Guest, Pve, proxmox

pytestmark = pytest.mark.live

MACHINES = """
proxmox:
  lab:
    transport: rest
    url: {url}
    token: env:PVE_TOKEN
    ca: {authority}
    nodes: {{a: {{}}, b: {{}}}}
"""
TOPOLOGY = """
topology: lab
owner: organisation/organisation
assets:
  - id: workbench
    kind: lxc
    roles: [bench]
    locators: {node: a, vmid: 101}
    permits:
      - {argv: [printf, ...], effect: reads}
      - {argv: ["false"], effect: reads}
"""


@dataclass(frozen=True)
class Lab:
    """A server on which a virtual machine of the cluster is registered."""

    pve: Pve
    server: Server
    machines: Path

    def command(self, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
        """``fractalops`` to its end."""
        return subprocess.run(
            [*COMMAND, *map(str, arguments)],
            env=own_environment(PVE_TOKEN=TOKEN, FRACTALOPS_DATA=str(self.server.data)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            check=False,
        )


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("proxmox-control")
    with ExitStack() as closing:
        pve = closing.enter_context(proxmox(folder / "pve"))
        pve.cluster.add(Guest(101, "qemu", "a", "bench"))
        machines = folder / "machines.yaml"
        machines.write_text(MACHINES.format(url=pve.url, authority=pve.authority))
        maker = closing.enter_context(serving(folder))
        server = maker(
            None,
            *("--time-lock", "1s", "--steward-seconds", "3600"),
            settings={"FRACTALOPS_MACHINES": str(machines), "PVE_TOKEN": TOKEN},
        ).start()
        made = Lab(pve, server, machines)
        token = server.token_of("second", "operator")

        def works() -> bool:
            with server.client(token) as client:
                return client.get("/status").is_success

        wait_until(works, "the second operator's beginning")
        file = folder / "topology.yaml"
        file.write_text(TOPOLOGY)
        proposed = made.command("infra", "apply", file, "--output", "json")
        assert proposed.returncode == 0, proposed.stderr
        with server.client(token) as client:
            answer = client.post(
                f"/proposals/{json.loads(proposed.stdout)['id']}/decisions",
                json={"outcome": "approve", "reason": "seen"},
            )
        assert answer.is_success, answer.text
        yield made


def test_a_machine_is_run_on_by_its_role(lab: Lab) -> None:
    run = ("runtime-assets", "run", "--role", "bench", "--")
    said = lab.command(*run, "printf", "%s|", "a b", "", "it's", "-x", "é")
    assert (said.returncode, said.stdout.decode()) == (0, "a b||it's|-x|é|")
    assert lab.command(*run, "false").returncode == 1
    checked = lab.command("runtime-assets", "check", "--role", "bench", "--output", "json")
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["state"] == "running"


def test_one_that_has_moved_is_missed_where_it_was(lab: Lab) -> None:
    guest = lab.pve.cluster.guests[101]
    lab.pve.cluster.guests[101] = replace(guest, node="b")
    try:
        said = lab.command("runtime-assets", "run", "--asset-id", "workbench", "--", "printf", "x")
    finally:
        lab.pve.cluster.guests[101] = guest
    assert said.returncode != 0
    assert said.stdout == b""
    assert b"machine 101 is on node b now and not on a" in said.stderr


def test_the_file_of_machines_is_checked(lab: Lab) -> None:
    said = lab.command("infra", "machines-check", lab.machines, "--output", "json")
    assert said.returncode == 0, said.stderr
    found = {"name": "lab", "way": "Proxmox VE over rest", "reached": "yes", "trouble": ""}
    assert json.loads(said.stdout) == [found]


def test_the_token_is_nowhere(lab: Lab) -> None:
    secret = TOKEN.rpartition("=")[2].encode()
    kept = [path for path in lab.server.data.rglob("*") if path.is_file()]
    assert kept
    assert [path for path in kept if secret in path.read_bytes()] == []
