"""The command against a real server: from `up` on a fresh folder to a restored backup."""

from __future__ import annotations

import json
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from graph_api.cli_session import running_server
from runtime.process_exec import Captured, Running, capture, spawn

pytestmark = pytest.mark.live

COMMAND = [sys.executable, "-m", "graph_api.cli"]
TURTLE = b"""
@prefix fo: <https://w3id.org/fractalops/ns#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
<http://fractalops.localhost/id/service/shop/web> a fo:Service ;
  rdfs:label "web" ; fo:inProject <http://fractalops.localhost/id/project/shop> .
"""
WARNING = b"""
@prefix fo: <https://w3id.org/fractalops/ns#> .
@prefix fos: <https://w3id.org/fractalops/shapes#> .
@prefix sh: <http://www.w3.org/ns/shacl#> .
fos:live a sh:NodeShape ; sh:targetClass fo:Service ; sh:property fos:live-role .
fos:live-role a sh:PropertyShape ; sh:path fo:assetRole ; sh:minCount 1 ; sh:severity sh:Warning .
"""
WEB = "http://fractalops.localhost/id/service/shop/web"
CLEAN = dict.fromkeys(("FRACTALOPS_URL", "FRACTALOPS_TOKEN", "FRACTALOPS_DATA"))

Cli = Callable[..., Captured]


@pytest.fixture
def cli(checkout: Path) -> Cli:
    def run(*arguments: object, stdin: bytes = b"", token: str | None = None) -> Captured:
        return capture(
            [*COMMAND, *map(str, arguments)],
            timeout=120,
            stdin=stdin,
            env={**CLEAN, "FRACTALOPS_TOKEN": token},
            cwd=checkout,
        )

    return run


@contextmanager
def server(data: Path, checkout: Path, log: Path) -> Iterator[Running]:
    command: list[str | Path] = [*COMMAND, "up", "--data", data, "--port", "0"]
    command += ["--grpc-port", "off"]
    with spawn([*command, "--time-lock", "0"], env=CLEAN, cwd=checkout, log=log) as running:
        deadline = time.monotonic() + 120
        while f"ready at {running_server(data)}" not in log.read_text():
            assert running.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield running


def validated(cli: Cli, data: Path, analyst: str) -> None:
    """What the shapes say of a change, of the graph, and of the graph under other shapes."""
    whole = cli("validate", "--data", data).checked()
    assert whole.text.split()[:2] == ["conforms", "yes"]
    assert cli("validate", "--data", data, token=analyst).returncode == 1
    nameless = TURTLE.replace(b'rdfs:label "web" ;', b"").replace(b"shop/web", b"shop/nameless")
    tried = cli("validate", "-", "--project", "shop", "--data", data, stdin=nameless)
    assert tried.returncode == 1
    assert "1 node would not conform to fos:Service" in tried.text
    assert "add 1 more value of rdfs:label" in tried.text

    cli("projects", "create", "bank", "--restricted", "--data", data).checked()
    vault = TURTLE.replace(b"shop", b"bank").replace(b"web", b"vault")
    cli("propose", "-", "--project", "bank", "--data", data, stdin=vault).checked()
    arguments = ("propose", "-", "--graph", "shapes", "--data", data, "--output", "json")
    waiting = json.loads(cli(*arguments, stdin=WARNING).checked().stdout)
    assert waiting["report"]["nodes"] == {"<https://w3id.org/fractalops/shapes#live>": 2}
    show = ("proposals", "show", waiting["id"], "--data", data)
    for shown, names in ((cli(*show), True), (cli(*show, token=analyst), False)):
        text = shown.checked().text
        assert "2 nodes would pass fos:live with a warning" in text
        assert WEB in text
        assert ("vault" in text) is names


def test_from_a_fresh_folder_to_a_restored_backup(cli: Cli, checkout: Path, tmp_path: Path) -> None:
    data, restored = tmp_path / "the data", tmp_path / "restored"
    log = tmp_path / "log"
    with server(data, checkout, log) as running:
        token = (data / "operator.token").read_text().strip()
        assert stat.S_IMODE((data / "operator.token").stat().st_mode) == 0o600
        assert log.read_text().count(token) == 1

        second = cli("up", "--data", data, "--port", "0")
        assert second.returncode == 1
        assert b"another server" in second.stdout + second.stderr

        made = cli("projects", "create", "shop", "--data", data).checked()
        assert b"OTEL_EXPORTER_OTLP_ENDPOINT=" in made.stdout
        analyst = cli("tokens", "create", "ann", "--data", data).checked().text.strip()

        arguments = ("propose", "-", "--project", "shop", "--data", data, "--output", "json")
        refused = cli(*arguments, stdin=TURTLE, token=analyst)
        assert refused.returncode == 1
        proposal = json.loads(cli(*arguments, stdin=TURTLE).checked().stdout)
        assert proposal["state"] == "applied"

        asked = cli(
            *("query", "SELECT ?l { ?s a fo:Service ; rdfs:label ?l }", "--output", "csv"),
            *("--data", data),
            token=analyst,
        )
        assert asked.checked().stdout == b"l\r\nweb\r\n"

        validated(cli, data, analyst)
        why = cli("proofs", "explain", WEB, "a", "fo:Service", "--data", data).checked().text
        assert proposal["id"] in why
        bundle = tmp_path / "entry.json"
        cli("proofs", "bundle", proposal["proof"], "-o", bundle, "--data", data).checked()
        audit = cli("proofs", "audit", "--data", data)
        assert audit.returncode == 0, audit.text
        status = json.loads(cli("status", "--data", data, "--output", "json").checked().stdout)
        assert token not in json.dumps(status)

        cli("backup", tmp_path / "copy.tar", "--data", data).checked()
        cli("projects", "create", "later", "--data", data).checked()
        busy = cli("restore", tmp_path / "copy.tar", "--data", data)
        assert busy.returncode == 1
        assert b"a server runs on" in busy.stderr

        running.signal(signal.SIGTERM)
        assert running.wait(60) == 0
    assert running_server(data) is None

    verified = cli("proofs", "verify", bundle, "--key", data / "keys" / "log.pub").checked()
    assert verified.text.rstrip().endswith("UNANCHORED")
    spoiled = bundle.read_bytes().replace(b"lineage/shop", b"lineage/shoq", 1)
    assert cli("proofs", "verify", "-", stdin=spoiled).returncode == 1

    forked = cli("restore", tmp_path / "copy.tar", "--data", data)
    assert forked.returncode == 1
    assert b"would fork the log" in forked.stderr
    mirrored = cli(
        *("restore", tmp_path / "copy.tar", "--data", restored, "--mirror", data / "log")
    )
    assert mirrored.returncode == 1
    assert not restored.exists()

    cli("restore", tmp_path / "copy.tar", "--data", restored).checked()
    with server(restored, checkout, log):
        again = json.loads(cli("status", "--data", restored, "--output", "json").checked().stdout)
        for name in ("head", "state_digest", "quads", "base"):
            assert again[name] == status[name], name
        assert cli("proofs", "audit", "--data", restored).returncode == 0
        assert cli("projects", "list", "--data", restored, token=analyst).returncode == 0
