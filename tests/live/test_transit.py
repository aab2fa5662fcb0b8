"""A platform whose log is signed in OpenBao: from a file's key to transit, through bad days and two
rotations, to proofs that verify without either of them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from proofs.checkpoint import SignerKey, VerifierKey
from proofs.verify import Status, verify_bundle
from tests.live.openbao_server import ROOT, OpenBaoServer
from tests.seeded_secrets import RESOLVED_TOKEN as PASSWORD

if TYPE_CHECKING:
    from tests.live.conftest import RunCommand, Serve, Server, ServiceTurtle

pytestmark = pytest.mark.live

REFERENCE = "bao://secret/fractalops/glitchtip#token"
OPTIONS = ("--steward-seconds", "600")


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBaoServer]:
    server = OpenBaoServer(tmp_path_factory.mktemp("openbao"))
    try:
        server.start().keep("fractalops/glitchtip", token=PASSWORD)
        yield server
    finally:
        server.stop()


def settings_of(bao: OpenBaoServer, tmp_path: Path) -> tuple[dict[str, str], str]:
    """What a platform is started with, and the secret id that is among it in a file."""
    role, secret = bao.role("platform")
    file = tmp_path / "secret-id"
    file.write_text(secret + "\n")
    return {
        "FRACTALOPS_PROFILE": "production",
        "FRACTALOPS_OPENBAO": bao.address,
        "FRACTALOPS_OPENBAO_ROLE": role,
        "FRACTALOPS_OPENBAO_FILE": str(file),
        "FRACTALOPS_OPENBAO_LOG_KEY": "log",
        "FRACTALOPS_OPENBAO_SECONDS": "1",
        "FRACTALOPS_GLITCHTIP_TOKEN": REFERENCE,
    }, secret


def refused(server: Server, turtle: str) -> dict[str, Any]:
    """The problem that a proposal is answered with."""
    with server.client() as client:
        answer = client.post(
            "/proposals",
            params={"project": "shop", "graph": "lineage/shop", "rationale": "test"},
            content=turtle,
            headers={"Content-Type": "text/turtle"},
        )
    assert answer.status_code == 503, answer.text
    problem: dict[str, Any] = answer.json()
    assert problem["type"].endswith("signer-failed"), problem
    return problem


def test_a_log_moves_to_transit_and_goes_on(
    bao: OpenBaoServer,
    serve: Serve,
    turtle_of: ServiceTurtle,
    command: RunCommand,
    tmp_path: Path,
) -> None:
    from tests.live.conftest import wait_until

    data = tmp_path / "data"
    environment, secret_id = settings_of(bao, tmp_path)
    server = serve(data, *OPTIONS).start()
    server.post("/projects", {"slug": "shop"})

    def propose(name: str) -> None:
        done = server.propose("shop", turtle_of(server.ids, "shop", name))
        assert done["state"] in ("applied", "proven"), done

    propose("in-a-file")
    assert command("--data", data, "backup", tmp_path / "early.tar").code == 0
    assert server.get("/status")["log_key"]["custody"].startswith("file (0600)")
    server.stop()
    seed = SignerKey.parse((data / "keys" / "log.key").read_text().strip()).seed
    founder = (data / "keys" / "log.pub").read_text()

    # From the file to transit.
    server = serve(data, *OPTIONS, settings=environment).start()
    status = server.get("/status")
    assert status["log_key"]["custody"].startswith("OpenBao transit (transit/keys/log at")
    assert status["log_key"]["former"] == [founder.strip()]
    assert status["openbao"] == {"address": bao.address, "problem": None}
    assert not (data / "keys" / "log.key").exists()
    assert "the log is handed from" in server.text
    propose("in-transit")

    # OpenBao rotates; the log's key is the one that its entries name.
    key = status["log_key"]["name"]
    bao.ask("POST", "transit/keys/log/rotate")
    propose("while-rotated")
    assert server.get("/status")["log_key"]["name"] == key

    # Its token ends in the middle of a run.
    bao.ask("POST", "sys/leases/revoke-prefix/auth/approle/login")
    propose("after-another-login")

    head = server.head
    turtle = turtle_of(server.ids, "shop", "in-trouble")
    bao.hold()
    try:
        assert "did not answer within 1 s" in refused(server, turtle)["detail"]
    finally:
        bao.go_on()
    bao.seal()
    try:
        assert "is sealed: have it unsealed" in refused(server, turtle)["detail"]
        assert "is sealed" in server.get("/status")["openbao"]["problem"]
    finally:
        bao.unseal()
    assert server.head == head
    wait_until(lambda: server.get("/status")["problems"] == [], "the end of the problem")
    propose("in-trouble")
    server.stop()

    # What was rotated is followed at the start; then once more.
    server.start()
    assert server.get("/status")["log_key"]["name"] != key
    propose("second-key")
    asked = ("--data", data, "proofs", "rotate-key", "--reason", "once a year")
    early = command(*asked)
    assert early.code == 1
    assert "is the newest version of the log's key" in early.text
    bao.ask("POST", "transit/keys/log/rotate")
    bao.seal()
    assert "is sealed: have it unsealed" in command(*asked).text
    bao.unseal()
    done = command(*asked)
    assert done.code == 0, done.text
    propose("third-key")
    assert len(server.get("/status")["log_key"]["former"]) == 3
    audit = command("--data", data, "proofs", "audit")
    assert audit.code == 0, audit.text
    with server.client() as client:
        bundles = [client.get(f"/proofs/bundle/{n}").content for n in range(server.head + 1)]
        shown = "".join(
            client.get(path).text for path in ("/status", "/metrics", "/proofs/checkpoint")
        )
    backup = command("--data", data, "backup", tmp_path / "backup.tar")
    assert backup.code == 0, backup.text
    server.stop()

    # With public keys alone, by any of them.
    for public in (founder, (data / "keys" / "log.pub").read_text()):
        for bundle in bundles:
            verdict = verify_bundle(bundle, VerifierKey.parse(public.strip()))
            assert verdict.status is Status.UNANCHORED, verdict.reasons
    file = tmp_path / "bundle.json"
    file.write_bytes(bundles[1])
    (tmp_path / "log.pub").write_text(founder)
    done = command("proofs", "verify", file, "--key", tmp_path / "log.pub")
    assert done.code == 0, done.text
    assert "which" in done.text
    assert "was handed on to" in done.text

    # Nothing secret is anywhere.
    hidden = [PASSWORD.encode(), secret_id.encode(), ROOT.encode()]
    hidden.append(f"PRIVATE+KEY+{founder.partition('+')[0]}".encode())
    hidden += [seed, seed.hex().encode(), base64.b64encode(b"\1" + seed)]
    places = [path for path in [*data.rglob("*"), tmp_path / "backup.tar"] if path.is_file()]
    for secret in hidden:
        assert secret not in server.text.encode()
        assert secret not in shown.encode()
        assert not [path for path in places if secret in path.read_bytes()]
        assert not [number for number, bundle in enumerate(bundles) if secret in bundle]

    # A copy from before the log was handed on would fork it.
    older = command("restore", tmp_path / "early.tar", "--data", data)
    assert older.code == 1
    assert "under a key that the backup is too old to know" in older.text

    # Another folder goes on from the backup.
    restored = command("restore", tmp_path / "backup.tar", "--data", tmp_path / "restored")
    assert restored.code == 0, restored.text
    server = serve(tmp_path / "restored", *OPTIONS, settings=environment).start()
    propose("restored")


def test_a_log_is_founded_in_transit_and_does_not_leave_it(
    bao: OpenBaoServer, serve: Serve, command: RunCommand, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    environment, _ = settings_of(bao, tmp_path)
    server = serve(data, *OPTIONS, settings=environment).start()
    server.post("/projects", {"slug": "shop"})
    assert [path.name for path in (data / "keys").glob("log*")] == ["log.pub"]
    server.stop()
    for settings, said in (
        ({}, "is missing: put it back from a backup, or set FRACTALOPS_OPENBAO"),
        ({"FRACTALOPS_PROFILE": "production"}, "set FRACTALOPS_OPENBAO and"),
        ({"FRACTALOPS_GLITCHTIP_TOKEN": REFERENCE}, "refers to bao://"),
        (environment | {"FRACTALOPS_OPENBAO_LOG_KEY": "other"}, "policies of this login lack it"),
        (environment | {"FRACTALOPS_OPENBAO_ROLE": "wrong"}, "Check the role"),
        (environment | {"FRACTALOPS_OPENBAO": "http://127.0.0.1:9"}, "is not reached"),
        (
            environment | {"FRACTALOPS_GLITCHTIP_TOKEN": "bao://secret/fractalops/glitchtip#x"},
            "no text in the field x",
        ),
    ):
        other = serve(data, *OPTIONS, settings=settings)
        other.begin()
        assert other.process is not None
        assert other.process.wait(60) in (1, 2)
        assert said in " ".join(other.text.split()), other.text
        assert "Traceback" not in other.text
    server.start()
