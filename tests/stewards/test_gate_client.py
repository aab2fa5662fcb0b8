"""The client against a transport that answers as told: retries, problems, and what it sends."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pyoxigraph import Literal, NamedNode

from proofs.checkpoint import SignerKey
from proofs.signed_proposal import open_proposal
from proofs.statement import canonical_json, delta_digests
from stewards.errors import (
    DraftRefused,
    GateBusy,
    GateRefused,
    GateUnreachable,
    LimitReached,
    NotAllowed,
    OutdatedDraft,
    ReportResult,
    SignatureRefused,
    UnexpectedAnswer,
)
from stewards.exchange import ATTEMPTS, LONGEST_WAIT, Exchange
from stewards.gate_client import GateClient, Progress
from stewards.signer import ProposalSigner
from tests.runtime.http_server import misbehaving

Answer = Callable[[httpx.Request], httpx.Response]


def client(answer: Answer, waits: list[float] | None = None) -> GateClient:
    return GateClient(exchange(answer, waits))


def exchange(answer: Answer, waits: list[float] | None = None) -> Exchange:
    return Exchange(
        "http://gate.test",
        "token",
        (waits if waits is not None else []).append,
        transport=httpx.MockTransport(answer),
    )


def always(response: httpx.Response) -> Answer:
    return lambda request: httpx.Response(
        response.status_code, headers=response.headers, content=response.content
    )


PROBLEM: dict[str, Any] = {
    "type": "https://w3id.org/fractalops/problems/shapes-violated",
    "title": "The shapes refuse it",
    "status": 422,
    "detail": "Mend what the report names.",
}


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, DraftRefused),
        (401, NotAllowed),
        (403, NotAllowed),
        (404, GateRefused),
        (409, OutdatedDraft),
        (413, DraftRefused),
        (422, DraftRefused),
        (500, GateRefused),
    ],
)
def test_a_problem_becomes_a_typed_error_that_tells_what_it_says(
    status: int, error: type[GateRefused]
) -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(status, json=PROBLEM)

    with client(answer) as gate, pytest.raises(GateRefused) as caught:
        gate.facts("SELECT 1")
    assert type(caught.value) is error
    assert str(caught.value) == (f"The shapes refuse it ({status}): Mend what the report names.")
    assert (caught.value.status, caught.value.kind) == (status, PROBLEM["type"])
    assert len(asked) == 1


def test_the_results_of_a_report_are_told_and_warnings_are_not_among_them() -> None:
    results = [
        {"focus": f"<urn:{n}>", "path": "<urn:p>", "value": None, "message": "no", "severity": kind}
        for n, kind in enumerate(["Violation", "Warning", *["Violation"] * 4])
    ]
    body = {**PROBLEM, "report": {"conforms": False, "results": results}}
    with pytest.raises(DraftRefused) as caught:
        client(always(httpx.Response(422, json=body))).propose("p", "", "", "", [], 1)
    assert caught.value.results[0] == ReportResult("<urn:0>", "<urn:p>", "", "no")
    assert len(caught.value.results) == 5
    assert str(caught.value).endswith(
        "[<urn:0> <urn:p>: no; <urn:2> <urn:p>: no; <urn:3> <urn:p>: no; and 2 more]"
    )


@pytest.mark.parametrize(
    ("header", "expected"),
    [("7", [7.0, 7.0]), ("86400", [LONGEST_WAIT] * 2), ("soon", [1.0, 2.0]), (None, [1.0, 2.0])],
)
@pytest.mark.parametrize("status", [429, 503])
def test_only_busy_is_tried_again_as_long_as_asked_within_bounds(
    status: int, header: str | None, expected: list[float]
) -> None:
    waits: list[float] = []
    answers = iter([status, status, 200])

    def answer(request: httpx.Request) -> httpx.Response:
        headers = {"Retry-After": header} if header else {}
        body = {"columns": ["a"], "rows": [[1], [2]], "truncated": False}
        return httpx.Response(next(answers), headers=headers, json=body)

    facts = client(answer, waits).facts("SELECT 1")
    assert facts.rows == ((1,), (2,))
    assert waits == expected


def test_busy_for_too_long_is_an_error() -> None:
    waits: list[float] = []
    with pytest.raises(GateBusy):
        client(always(httpx.Response(503, json=PROBLEM)), waits).progress()
    assert len(waits) == ATTEMPTS - 1


def test_a_question_that_is_too_large_is_not_asked_again() -> None:
    waits: list[float] = []
    body = {**PROBLEM, "type": "https://w3id.org/fractalops/problems/facts-query-limit"}
    with pytest.raises(LimitReached):
        client(always(httpx.Response(503, json=body)), waits).facts("SELECT 1")
    assert not waits


def test_no_answer_is_an_error_of_its_own_and_is_not_sent_again() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        raise httpx.ReadTimeout("too slow")

    with pytest.raises(GateUnreachable, match=r"POST /proposals: no answer .* \(ReadTimeout"):
        client(answer).propose("p", "", "", "", [], None)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("call", "body"),
    [
        (lambda gate: gate.facts("SELECT 1"), "hello"),
        (lambda gate: gate.facts("SELECT 1"), "[]"),
        (lambda gate: gate.facts("SELECT 1"), '{"rows": []}'),
        (lambda gate: gate.progress(), '{"head": 1}'),
        (lambda gate: gate.progress(), '{"head": 1, "cursor": 1}'),
        (
            lambda gate: gate.progress(),
            '{"head": "x", "cursor": 1, "pending": 0}',
        ),
        (lambda gate: gate.query("SELECT * {}"), "hello"),
        (lambda gate: gate.query("ASK {}"), '{"head": {}, "boolean": true}'),
        (lambda gate: gate.diff("p1"), '{"additions": 1, "removals": ""}'),
        (lambda gate: gate.diff("p1"), '{"additions": ""}'),
        (lambda gate: list(gate.proposals(state="applied", project="p")), '{"items": 1}'),
    ],
)
def test_a_success_that_is_not_as_promised_is_named(
    call: Callable[[GateClient], object], body: str
) -> None:
    gate = client(always(httpx.Response(200, text=body)))
    with pytest.raises(UnexpectedAnswer, match=r"another service at gate\.test"):
        call(gate)


def test_an_error_page_of_something_in_between_is_quoted_in_part() -> None:
    page = always(httpx.Response(502, text="<h1>Bad gateway</h1>" * 100))
    with pytest.raises(GateRefused, match=r"Bad Gateway \(502\): <h1>Bad") as caught:
        client(page).progress()
    assert len(str(caught.value)) < 300


def test_a_proposal_as_it_is_sent() -> None:
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(201, json={"id": "p1", "state": "applied", "head": 8})

    made = client(answer).propose("shop", "why", "<a> .", "", ["sha256:00"], 7)
    assert made["id"] == "p1"
    assert (sent[0].method, sent[0].url.path) == ("POST", "/proposals")
    assert json.loads(sent[0].content) == {
        "project": "shop",
        "rationale": "why",
        "additions": "<a> .",
        "removals": "",
        "evidence": ["sha256:00"],
        "base": 7,
    }


def test_a_proposal_is_signed_with_the_key_that_holds() -> None:
    """As the gate reads it: the literal here has another spelling in the log."""
    sent: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        return httpx.Response(201, json={"id": "p1", "state": "applied", "head": 8})

    held = [SignerKey("host/steward-shop", bytes(range(32)))]
    signer = ProposalSigner("urn:steward", "log+0a1b2c3d", lambda: held[-1] if held else None)
    with GateClient(exchange(answer), signer) as gate:
        value = '"01"^^<http://www.w3.org/2001/XMLSchema#integer>'
        asked = ("shop", "why", f"<urn:s> <urn:p> {value} <urn:g> .\n", "", ["sha256:" + "0" * 64])
        gate.propose(*asked, 7)
        signed = open_proposal(canonical_json(sent[0]["signature"]), held[0].verifier)
        assert (signed.project, signed.base, signed.principal) == ("shop", 7, "urn:steward")
        canonical = b'<urn:s> <urn:p> "1"^^<http://www.w3.org/2001/XMLSchema#integer> <urn:g> .\n'
        assert signed.delta == delta_digests([canonical], [])
        gate.propose(*asked, None)
        held.clear()
        gate.propose(*asked, 7)
    assert ["signature" in body for body in sent] == [True, False, False]


def test_a_signature_that_is_not_taken_is_no_fault_of_the_draft() -> None:
    body = {**PROBLEM, "type": "https://w3id.org/fractalops/problems/signature-refused"}
    with pytest.raises(SignatureRefused) as refused:
        client(always(httpx.Response(422, json=body))).propose("p", "", "", "", [], 1)
    assert not isinstance(refused.value, DraftRefused)


def test_solutions_come_as_terms() -> None:
    body = {
        "head": {"vars": ["a", "b", "c"]},
        "results": {
            "bindings": [
                {"a": {"type": "uri", "value": "urn:a"}, "b": {"type": "literal", "value": "x"}}
            ]
        },
    }
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json=body)

    assert client(answer).query("SELECT * {}", 12) == (
        {"a": NamedNode("urn:a"), "b": Literal("x")},
    )
    assert asked[0].url.params["min_head"] == "12"


def test_how_far_log_and_facts_are() -> None:
    body = {"head": 4, "cursor": 2, "pending": 1}
    assert client(always(httpx.Response(200, json=body))).progress() == Progress(4, 2, 1)


def test_every_row_is_read_on_where_the_server_stops_short() -> None:
    """The server gives at most two rows, whatever is asked for."""

    def answer(request: httpx.Request) -> httpx.Response:
        offset = int(request.content.decode().rsplit(" ", 1)[1])
        rows = [[n] for n in range(offset, min(offset + 2, 5))]
        return httpx.Response(
            200, json={"columns": ["n"], "rows": rows, "truncated": offset + 2 < 5}
        )

    assert client(answer).all_facts("SELECT n FROM t ORDER BY n") == tuple((n,) for n in range(5))


def test_the_token_goes_to_the_named_platform_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a redirect nor a proxy of the environment takes it elsewhere."""
    with misbehaving() as platform, misbehaving() as elsewhere:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, elsewhere.url)
        platform.handle = lambda it: it.reply(302, Location=elsewhere.url)
        with (
            GateClient.connect(platform.url, "fot_x") as gate,
            pytest.raises(GateRefused, match="302"),
        ):
            gate.progress()
    assert [it.headers["authorization"] for it in platform.asked] == ["Bearer fot_x"]
    assert not elsewhere.asked
