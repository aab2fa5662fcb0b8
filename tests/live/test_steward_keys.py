"""A steward's own key on a running platform: founded with the project, rotated by people, verified
without the platform; and the stewards of an older data folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from pyoxigraph import RdfFormat, parse

from ontology.terms import to_nquads
from proofs.checkpoint import SignerKey
from proofs.genesis import project_delta
from runtime.steward_keys import StewardKeys
from stewards.gate_client import GateClient
from stewards.platform_client import PlatformClient
from stewards.signer import ProposalSigner

if TYPE_CHECKING:
    from tests.live.conftest import MakeSpans, RunCommand, Server, ServiceTurtle, Serving

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def server(serving_in: Serving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving_in(tmp_path_factory.mktemp("keys")) as serve:
        yield serve(None, "--steward-seconds", "600", "--time-lock", "1s").start()


@pytest.fixture(scope="module")
def second(server: Server) -> str:
    """Another operator's token, for a second pair of eyes."""
    from tests.live.conftest import wait_until

    token = server.token_of("second", "operator")

    def named() -> bool:
        with server.client(token) as client:
            return client.get("/status").is_success

    wait_until(named, "the naming of a second operator")
    return token


def approve(server: Server, token: str, proposal: str) -> dict[str, Any]:
    with server.client(token) as client:
        answer = client.post(f"/proposals/{proposal}/decisions", json={"outcome": "approve"})
    assert answer.is_success, answer.text
    found: dict[str, Any] = answer.json()
    return found


def swept(server: Server, key: str, spans: Any) -> dict[str, Any]:
    """The newest proposal after a steward has read these spans."""
    server.send(key, spans)
    server.settle()
    newest: dict[str, Any] = server.get("/proposals", project="shop", limit=1)["items"][0]
    return newest


def test_from_the_first_key_to_the_next(
    server: Server,
    second: str,
    make_spans: MakeSpans,
    command: RunCommand,
    tmp_path: Path,
) -> None:
    ingest = server.post("/projects", {"slug": "shop"})["ingest_key"]
    (key,) = server.get("/stewards/steward-shop/keys")["items"]
    assert (key["active"], key["here"], key["until"]) == (True, True, None)
    assert key["since"] == server.get("/proposals", limit=1)["items"][0]["proof"]
    keys = server.get("/status")["steward_keys"]
    assert keys["stewards"][0]["key"] == key["name"]
    assert "0600" in keys["custody"]

    first = swept(server, ingest, make_spans("first", 3))
    assert first["author"].endswith("/steward-shop")
    assert first["signature"]["key"] == key["key"]
    old = tmp_path / "old.json"
    assert command("proofs", "bundle", first["proof"], "-o", old, "--data", server.data).code == 0

    rotation = server.post("/stewards/steward-shop/keys")
    assert rotation["proposal"]["state"] == "awaiting decision"
    # Asked twice, for want of an answer: one key and one proposal.
    assert (
        server.post("/stewards/steward-shop/keys")["proposal"]["id"] == rotation["proposal"]["id"]
    )
    approve(server, second, rotation["proposal"]["id"])
    retired, new = sorted(
        server.get("/stewards/steward-shop/keys")["items"], key=lambda item: item["active"]
    )
    assert (retired["key"], retired["until"], new["since"]) == (
        key["key"],
        server.head,
        server.head,
    )
    spans = make_spans("second", 3)
    for span in spans.resource_spans:
        span.resource.attributes[0].value.string_value = "another"
    after = swept(server, ingest, spans)
    assert after["signature"]["key"] == new["key"]

    fresh = tmp_path / "new.json"
    assert command("proofs", "bundle", after["proof"], "-o", fresh, "--data", server.data).code == 0
    public = server.data / "keys" / "log.pub"
    for bundle in (old, fresh):
        verified = command("proofs", "verify", bundle, "--key", public, "--data", tmp_path)
        assert verified.code == 0, verified.text
        assert "author's signature" in verified.text

    shown = command("proposals", "show", after["id"], "--data", server.data)
    assert f"signed with <{new['key']}>" in shown.text
    listed = command("stewards", "keys", "shop", "--data", server.data)
    assert new["public_key"] in listed.text
    assert key["public_key"] in listed.text


def test_what_the_gate_refuses(server: Server, second: str, turtle_of: ServiceTurtle) -> None:
    """A signature by no key of the steward's, and one of something else; unsigned it is taken."""
    server.post("/projects", {"slug": "bank"})
    token = server.token_of("outside", "steward", "bank")
    stranger = SignerKey("elsewhere/steward-bank", bytes(range(32)))
    ids, log = server.ids, server.get("/status")["log_key"]["name"]
    signer = ProposalSigner(ids.principal("steward-bank"), log, lambda: stranger)
    graph = ids.lineage_graph("bank")

    def body(name: str) -> dict[str, Any]:
        triples = parse(turtle_of(ids, "bank", name), format=RdfFormat.TURTLE)
        lines = [f"{t.subject} {t.predicate} {t.object} <{graph}> .\n" for t in triples]
        return {
            "project": "bank",
            "rationale": "a test",
            "additions": "".join(lines),
            "removals": "",
            "evidence": [],
            "base": server.head,
        }

    def propose(asked: dict[str, Any], signed: dict[str, Any]) -> httpx.Response:
        signature = signer.sign(
            **{
                **{name: signed[name] for name in ("project", "rationale", "evidence", "base")},
                "additions_nquads": signed["additions"],
                "removals_nquads": signed["removals"],
                "hold": "",
            }
        )
        with server.client(token) as client:
            return client.post("/proposals", json={**asked, "signature": signature})

    asked = body("vault")
    before = server.head
    refused = propose(asked, asked)
    assert refused.status_code == 422
    assert refused.json()["type"].endswith("/signature-refused")
    assert "no key that the graph names" in refused.json()["detail"]
    assert server.head == before

    # A place of its own, which an operator enrols and another approves.
    enrolment = server.post("/stewards/steward-bank/keys", {"public_key": str(stranger.verifier)})[
        "proposal"
    ]
    with server.client(token) as client:
        key = {"public_key": str(stranger.verifier)}
        assert client.post("/stewards/steward-bank/keys", json=key).status_code == 403
    approve(server, second, enrolment["id"])
    asked = body("vault")
    other = propose(asked, {**asked, "project": "shop"})
    assert (other.status_code, "the project differs" in other.json()["detail"]) == (422, True)
    taken = propose(asked, asked)
    assert taken.status_code == 201, taken.text
    assert taken.json()["signature"]["key"].endswith(stranger.verifier.key_id.hex())

    end = f"/stewards/steward-bank/keys/{stranger.verifier.key_id.hex()}/retire"
    approve(server, second, server.post(end)["proposal"]["id"])
    late = propose(asked := body("late"), asked)
    assert (late.status_code, "is retired" in late.json()["detail"]) == (422, True)
    with server.client(token) as client:
        unsigned = client.post("/proposals", json=asked)
    assert (unsigned.status_code, unsigned.json()["signature"]) == (201, None)
    with server.client() as client:
        assert client.post(end).status_code == 404
        assert client.get("/stewards/nobody/keys").status_code == 404
        nonsense = client.post("/stewards/steward-bank/keys", json={"public_key": "x"})
        assert nonsense.status_code == 422
        again = client.post("/stewards/steward-bank/keys", json=key)
        assert again.status_code == 409


def test_a_steward_elsewhere_has_a_key_of_its_own(
    server: Server, second: str, turtle_of: ServiceTurtle, tmp_path: Path
) -> None:
    """It knows the platform by its address and a token, and keeps its key where it runs."""
    server.post("/projects", {"slug": "far"})
    token, ids = server.token_of("far", "steward", "far"), server.ids
    keys = StewardKeys(tmp_path / "keys", ids.base)
    own = keys.unnamed("steward-far", ())
    graph = ids.lineage_graph("far")

    with closing(PlatformClient.connect(server.url, token)) as asking:
        signer = ProposalSigner(
            ids.principal("steward-far"),
            asking.identity().label,
            lambda: keys.active("steward-far", asking.enrolled_keys("steward-far")),
        )
        with GateClient.connect(server.url, token, signer=signer) as gate:

            def propose(name: str) -> Any:
                triples = parse(turtle_of(ids, "far", name), format=RdfFormat.TURTLE)
                lines = [f"{t.subject} {t.predicate} {t.object} <{graph}> .\n" for t in triples]
                return gate.propose("far", "seen", "".join(lines), "", [], server.head)["signature"]

            assert propose("before") is None
            key = {"public_key": str(own.verifier)}
            enrolment = server.post("/stewards/steward-far/keys", key)["proposal"]
            approve(server, second, enrolment["id"])
            assert propose("after")["key"].endswith(own.verifier.key_id.hex())
    # The platform's own is another, and each holds.
    held = {
        item["hash"]: item["here"] for item in server.get("/stewards/steward-far/keys")["items"]
    }
    assert sorted(held.values()) == [False, True]
    assert held[own.verifier.key_id.hex()] is False


def test_stewards_of_an_older_folder_are_enrolled_by_a_proposal(server: Server) -> None:
    """One that was founded without a key signs nothing until a person has approved it."""
    ids = server.ids
    organisation = server.get("/status")["organisation"]
    delta = project_delta(ids, organisation, "older", "Older")
    founded = server.post(
        "/proposals",
        {"rationale": "as before", "additions": to_nquads(delta.additions).decode()},
    )
    assert founded["state"] == "applied"
    assert "steward-older of project older has no key" in str(server.get("/status")["warnings"])

    def restarted() -> list[str]:
        """What the gate itself asks for after a kill -9 and a start."""
        server.kill()
        server.start()
        waiting = server.get("/proposals", state="awaiting decision")["items"]
        return [item["id"] for item in waiting if item["author"].endswith("/policy")]

    (enrolment,) = restarted()
    # Killed after it was proposed: the next start proposes nothing twice.
    assert restarted() == [enrolment]
    assert f"proposals approve {enrolment}" in server.text
    assert server.get("/stewards/steward-older/keys")["items"] == []
    approved = server.post(f"/proposals/{enrolment}/decisions", {"outcome": "approve"})
    assert approved["state"] == "applied"
    (key,) = server.get("/stewards/steward-older/keys")["items"]
    assert (key["here"], key["active"]) == (True, True)
    assert "has no key" not in json.dumps(server.get("/status")["warnings"])
    assert server.post("/proofs/audit")["ok"]
