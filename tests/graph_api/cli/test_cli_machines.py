"""``infra machines-check``: a file of machines is read, and what it names is tried."""

from __future__ import annotations

import json
import shutil
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.graph_api.cli.conftest import Result

Run = Callable[..., "Result"]

MACHINES = """
hosts:
  far:
    address: 127.0.0.1
    port: {port}
    identity: key
    known_hosts: known
proxmox:
  lab:
    transport: rest
    url: https://127.0.0.1:{port}
    token: {token}
    ca: ca.pem
    nodes: {{a: {{host: far}}, b: {{}}}}
clusters:
  shop: {{kubeconfig: key}}
"""


@pytest.fixture
def machines(tmp_path: Path) -> Callable[..., Path]:
    for name in ("key", "known", "ca.pem"):
        (tmp_path / name).touch(0o600)

    def write(text: str) -> Path:
        path = tmp_path / "machines.yaml"
        path.write_text(text)
        return path

    return write


def test_what_is_not_reached_is_told(
    machines: Callable[..., Path], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        file = machines(MACHINES.format(port=port, token="env:PVE"))
        said = run("infra", "machines-check", file, "--output", "json")
    assert said.code == 1
    far, lab, shop = json.loads(said.out)
    assert (far["name"], far["way"], far["reached"]) == ("far", "ssh", "no")
    told = "127.0.0.1" if shutil.which("ssh") else "ssh could not be started"
    assert told in far["trouble"]
    assert (lab["name"], lab["way"], lab["reached"]) == ("lab", "Proxmox VE over rest", "no")
    assert "the variable PVE is not set" in lab["trouble"]
    assert (shop["name"], shop["way"], shop["reached"]) == ("shop", "Kubernetes", "no")
    assert "the file is empty" in shop["trouble"]


def test_a_token_in_openbao_needs_one(machines: Callable[..., Path], run: Run) -> None:
    text = MACHINES.format(port=1, token="bao://kv/proxmox#token").partition("proxmox:")
    said = run("infra", "machines-check", machines(text[1] + text[2].replace("{host: far}", "{}")))
    assert said.code == 1
    assert "set FRACTALOPS_OPENBAO" in said.out


def test_a_file_that_is_refused(machines: Callable[..., Path], run: Run) -> None:
    file = machines("hosts: {a: {}}")
    said = run("infra", "machines-check", file)
    assert said.code == 1
    assert f"{file} is refused" in said.err
    assert "line 1, hosts.a.address: Field required" in said.err
    (file.parent / "key").chmod(0o644)
    assert stat.S_IMODE((file.parent / "key").stat().st_mode) == 0o644
    said = run("infra", "machines-check", machines(MACHINES.format(port=1, token="env:PVE")))
    assert "others may read 'key': chmod 600 it" in said.err


def test_nothing_to_reach(machines: Callable[..., Path], run: Run) -> None:
    said = run("infra", "machines-check", machines("{}"))
    assert (said.code, said.out) == (0, "")
    assert "The file names this machine alone." in said.err
