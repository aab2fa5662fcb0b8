"""The loop against a played gate: what it proposes, and what it does when the gate says no."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pyoxigraph import Literal, NamedNode, Quad
from starlette.responses import JSONResponse, Response

from ingest.classify import Classifier
from ontology.ids import Ids
from ontology.vocab import Fo, Rdfs
from stewards.draft import Limits
from stewards.identities import TOO_MANY_OPERATIONS
from stewards.loop import PASSED_OVER
from stewards.observe import NO_SERVICE_NAME
from stewards.outcome import Outcome
from stewards.pages import Pacing
from stewards.submission import ASIDE, REFUSED
from stewards.sweep import MAX_REFUSALS
from stewards.watermark import WatermarkStore

if TYPE_CHECKING:
    from tests.stewards.conftest import Clock, Hire, PlayedGate, Traffic


def refuse(status: int, kind: str = "refused", **extra: Any) -> Response:
    body = {
        "type": f"https://w3id.org/fractalops/problems/{kind}",
        "title": "Refused",
        "status": status,
        "detail": "Not this time.",
        **extra,
    }
    return JSONResponse(body, status, media_type="application/problem+json")


class Once:
    """A rule that answers the first request to a path, and no other."""

    def __init__(self, method: str, path: str, answer: Response, times: int = 1) -> None:
        self.method, self.path, self.answer, self.times = method, path, answer, times

    def __call__(self, method: str, path: str, body: bytes) -> Response | None:
        if self.times and (method, path) == (self.method, self.path):
            self.times -= 1
            return self.answer
        return None


def test_facts_become_a_proposal_and_steady_traffic_becomes_none(
    gate: PlayedGate, traffic: Traffic, hire: Hire, ids: Ids, project: str
) -> None:
    seq = traffic.send(*traffic.order("t1"))
    steward = hire()
    first = steward.run_once()
    assert (first.state, first.watermark, first.facts, first.set_aside) == ("proposed", seq, 8, ())
    (made,) = gate.made()
    assert made["state"] == "applied"
    assert made["evidence"] == [f"sha256:{seq:064x}"]
    assert made["rationale"].startswith("First seen in 1 evidence batch: ")
    graph = f"<{ids.lineage_graph(project)}>"
    assert gate.select(f"SELECT ?a ?b {{ GRAPH {graph} {{ ?a <{Fo.calls}> ?b }} }}") == [
        (f"<{ids.service(project, 'web')}>", f"<{ids.service(project, 'orders')}>")
    ]
    topic = f"<{ids.topic('rabbitmq', 'mq.shop', 'shipments')}>"
    assert gate.select(f"SELECT ?o {{ GRAPH {graph} {{ ?o <{Fo.writes}>|<{Fo.reads}> {topic} }} }}")

    before = gate.lineage(project)
    for number in range(2, 5):
        seq = traffic.send(*traffic.order(f"t{number}"))
        gate.requests.clear()
        again = steward.run_once()
        assert (again.state, again.watermark, again.facts) == ("unchanged", seq, 8)
        assert "POST /proposals" not in gate.requests
        # Nothing but one question about what is known already.
        assert gate.requests.count("POST /sparql") == 1
    assert gate.lineage(project) == before

    gate.requests.clear()
    assert steward.run_once() == Outcome("idle", seq)
    assert gate.requests == ["POST /facts", "POST /facts"]
    status = steward.status()
    assert status["proposals"] == 1
    assert status["runs"] == 5
    assert status["last_outcome"] == "read 8 facts; nothing that the graph doesn't hold"


def test_no_statement_and_no_secret_in_one_reaches_the_graph(
    gate: PlayedGate, traffic: Traffic, hire: Hire, project: str
) -> None:
    traffic.send(*traffic.order())
    hire().run_once()
    assert "INSERT%20orders" in gate.lineage(project)
    assert "token-4711" not in gate.lineage(project)
    assert "VALUES" not in gate.lineage(project)


def test_the_rest_of_a_trace_may_come_later_or_sooner(
    gate: PlayedGate, traffic: Traffic, hire: Hire, ids: Ids, project: str
) -> None:
    spans = traffic.order()
    steward = hire()
    for span in reversed(spans):
        traffic.send(span)
        steward.run_once()
    apart = gate.lineage(project)
    other = hire()
    traffic.send(*traffic.order("t2"))
    assert other.run_once().state == "unchanged"
    assert f"<{Fo.calls}>" in apart
    # Through the internal span, to the nearest entry.
    place = ids.operation(project, "orders", "http", "POST /orders")
    insert = ids.operation(project, "orders", "database", "INSERT orders")
    assert f"<{place}> <{Fo.invokes}> <{insert}>" in apart


@pytest.mark.parametrize("longest", [256, 2])
def test_odd_traces_end_and_mislead_nobody(
    gate: PlayedGate,
    traffic: Traffic,
    hire: Hire,
    project: str,
    longest: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also when they are too long for the usual way."""
    monkeypatch.setattr("stewards.fact_queries.MAX_ARRAY", longest)
    span = traffic.span
    server = {"http.request.method": "GET", "http.route": "/"}
    client = {"http.request.method": "GET", "server.address": "x.example"}
    traffic.send(
        # A span that is its own parent, and two that are each other's.
        span("a", "1", "1", "loop", "client", client),
        span("a", "2", "3", "loop", "client", client),
        span("a", "3", "2", "loop", "internal"),
        # A parent that never came, and a chain longer than anybody walks.
        span("b", "1", "gone", "far", "client", client),
        *(span("c", str(n), str(n - 1), "far", "internal") for n in range(1, 100)),
        span("c", "0", "", "far", "server", server),
        span("c", "100", "99", "far", "client", client),
        # The same span ids in another trace are other spans.
        span("d", "1", "", "other", "server", server),
        span("e", "2", "1", "stranger", "server", server),
    )
    outcome = hire().run_once()
    assert outcome.state == "proposed"
    held = gate.lineage(project)
    assert f"<{Fo.invokes}>" not in held
    assert f"<{Fo.calls}>" not in held


def test_nameless_services_are_set_aside_and_the_outcome_says_what_to_do(
    gate: PlayedGate, traffic: Traffic, hire: Hire
) -> None:
    traffic.send(
        traffic.span("t", "1", "", "unknown_service", "server", {"http.request.method": "GET"})
    )
    outcome = hire().run_once()
    assert (outcome.state, outcome.set_aside) == ("unchanged", ((NO_SERVICE_NAME, 1),))
    assert "set OTEL_SERVICE_NAME" in str(outcome)
    assert not gate.made()


def test_pages_are_whole_batches_and_each_moves_the_watermark(
    gate: PlayedGate, traffic: Traffic, hire: Hire
) -> None:
    for number in range(5):
        traffic.send(*traffic.order(f"t{number}"))
    steward = hire(pacing=Pacing(page_facts=16))
    stops = iter([False, True])
    outcome = steward.run_once(lambda: next(stops))
    assert (outcome.watermark, outcome.facts) == (2, 16)
    outcome = steward.run_once()
    assert (outcome.watermark, outcome.facts) == (5, 24)


def test_a_batch_that_is_there_in_part_waits(
    gate: PlayedGate, traffic: Traffic, hire: Hire
) -> None:
    spans = traffic.order()
    traffic.send(*spans[:3])
    gate.cursor = 0
    steward = hire()
    assert steward.run_once() == Outcome("idle", 0)
    gate.cursor = 1
    assert steward.run_once().watermark == 1


def test_more_rows_than_one_answer_holds_are_read_on(
    gate: PlayedGate, traffic: Traffic, hire: Hire, project: str
) -> None:
    gate.max_rows = 7
    steward = hire()
    traffic.send(
        *(
            traffic.span("t", str(n), "", f"service-{n:03}", "internal", name="work")
            for n in range(40)
        )
    )
    steward.run_once()
    held = gate.lineage(project)
    assert held.count(f"<{Fo.Service}>") == 40


def test_facts_that_were_made_anew_are_read_from_the_start(
    gate: PlayedGate, traffic: Traffic, hire: Hire, watermarks: WatermarkStore, project: str
) -> None:
    traffic.send(*traffic.order())
    record = watermarks.record("shop-steward", project)
    watermarks.save(type(record)("shop-steward", project, watermark=900))
    outcome = hire().run_once()
    assert (outcome.state, outcome.watermark) == ("proposed", 1)


def test_a_lost_watermark_costs_a_second_reading_and_nothing_else(
    gate: PlayedGate,
    traffic: Traffic,
    hire: Hire,
    watermarks: WatermarkStore,
    project: str,
) -> None:
    traffic.send(*traffic.order())
    hire().run_once()
    watermarks.save(type(watermarks.record("x", "x"))("shop-steward", project))
    outcome = hire().run_once()
    assert (outcome.state, outcome.facts) == ("unchanged", 8)
    assert len(gate.made()) == 1


def test_what_people_changed_stays_changed(
    gate: PlayedGate, traffic: Traffic, hire: Hire, ids: Ids, project: str
) -> None:
    traffic.send(*traffic.order())
    steward = hire()
    steward.run_once()
    graph = NamedNode(ids.lineage_graph(project))
    web = NamedNode(ids.service(project, "web"))
    label = NamedNode(Rdfs.label)
    old, new = (Quad(web, label, Literal(text), graph) for text in ("web", "Web shop"))
    gate.store.remove(old)
    gate.store.add(new)
    traffic.send(*traffic.order("t2"))
    assert steward.run_once().state == "unchanged"


@pytest.mark.parametrize("decision", ["rejected", "withdrawn", "reverted"])
def test_what_a_person_turned_down_is_not_proposed_again(
    gate: PlayedGate, traffic: Traffic, hire: Hire, project: str, decision: str
) -> None:
    if decision != "reverted":
        gate.auto_apply_limit = 10
    traffic.send(*traffic.order())
    steward = hire()
    first = steward.run_once()
    assert first.awaiting == (decision != "reverted")
    gate.decide(first.proposals[0], decision)
    # In this graph nothing is left of it, and the traffic goes on.
    assert f"<{Fo.Service}>" not in gate.lineage(project)
    traffic.send(*traffic.order("t2"))
    again = steward.run_once()
    assert (again.state, again.quads) == ("unchanged", 0)
    # What is new all the same is proposed.
    traffic.send(traffic.span("t3", "1", "", "mail", "server", {"http.request.method": "GET"}))
    assert steward.run_once().state == "proposed"


def test_what_waits_for_a_decision_is_not_proposed_twice(
    gate: PlayedGate, traffic: Traffic, hire: Hire, project: str
) -> None:
    gate.auto_apply_limit = 10
    steward = hire()
    # Several proposals in one state, so that their list has pages.
    for number in range(3):
        name = f"service-{number}"
        spans = [
            traffic.span("t", str(n), "", name, "internal", name=f"work {chr(97 + n)}")
            for n in range(4)
        ]
        traffic.send(*spans)
        outcome = steward.run_once()
        assert outcome.awaiting == 1
        assert "1 proposal waiting for a decision" in str(outcome)
    for number in range(3):
        traffic.send(
            traffic.span("u", "9", "", f"service-{number}", "internal", name="work a"),
        )
    assert steward.run_once().state == "unchanged"
    gate.decide("p1", "applied")
    traffic.send(traffic.span("v", "9", "", "service-0", "internal", name="work z"))
    assert steward.run_once().state == "proposed"


def test_a_broken_shape_sets_aside_what_the_report_names_and_the_rest_is_proposed(
    gate: PlayedGate,
    traffic: Traffic,
    hire: Hire,
    ids: Ids,
    project: str,
    clock: Clock,
) -> None:
    """The organisation forbids the letter q in labels; one service has one."""
    shape = NamedNode("https://example.org/no-q")
    graph = NamedNode(ids.graph("shapes"))
    sh = "http://www.w3.org/ns/shacl#"
    rdf_type = NamedNode("http://www.w3.org/1999/02/22-rdf-syntax-ns#type")
    path = NamedNode("https://example.org/no-q-path")
    own = [
        Quad(shape, rdf_type, NamedNode(sh + "NodeShape"), graph),
        Quad(shape, NamedNode(sh + "targetClass"), NamedNode(Fo.Service), graph),
        Quad(shape, NamedNode(sh + "property"), path, graph),
        Quad(path, rdf_type, NamedNode(sh + "PropertyShape"), graph),
        Quad(path, NamedNode(sh + "path"), NamedNode(Rdfs.label), graph),
        Quad(path, NamedNode(sh + "pattern"), Literal("^[^q]*$"), graph),
    ]
    gate.add(own)
    gate.validator.forget()
    spans = traffic.order()
    server = {"http.request.method": "GET", "http.route": "/"}
    traffic.send(
        *spans,
        traffic.span("t1", "90", "", "query", "client", {"http.request.method": "GET"}),
        traffic.span("t1", "91", "90", "web", "server", server),
    )
    steward = hire()
    outcome = steward.run_once()
    assert (outcome.state, outcome.watermark) == ("proposed", 1)
    assert dict(outcome.set_aside)[REFUSED] > 0
    held = gate.lineage(project)
    assert f"<{ids.service(project, 'orders')}>" in held
    assert "/query" not in held
    assert [made["state"] for made in gate.made()] == ["invalid", "applied"]

    traffic.send(traffic.span("t2", "90", "", "query", "client", {"http.request.method": "GET"}))
    assert steward.run_once().state == "unchanged"
    assert len(gate.made()) == 2

    # A day later it is tried again; by now the shape is gone.
    gate.remove(own)
    gate.validator.forget()
    clock.pass_by(ASIDE + timedelta(seconds=1))
    traffic.send(traffic.span("t3", "90", "", "query", "client", {"http.request.method": "GET"}))
    assert steward.run_once().state == "proposed"
    assert f"<{ids.service(project, 'query')}>" in gate.lineage(project)


def test_a_refusal_that_names_nothing_is_tried_again_and_then_set_aside(
    gate: PlayedGate, traffic: Traffic, hire: Hire, caplog: pytest.LogCaptureFixture
) -> None:
    gate.rules.append(Once("POST", "/proposals", refuse(400, "secret"), times=100))
    traffic.send(*traffic.order())
    steward = hire()
    for _ in range(MAX_REFUSALS - 1):
        outcome = steward.run_once()
        assert (outcome.state, outcome.watermark) == ("refused", 0)
        assert outcome.reason == "Refused (400): Not this time."
    outcome = steward.run_once()
    assert (outcome.state, outcome.watermark) == ("unchanged", 1)
    assert dict(outcome.set_aside)[REFUSED] == 100
    assert "Not this time." in caplog.text
    gate.rules.clear()
    traffic.send(*traffic.order("t2"))
    assert steward.run_once().state == "unchanged"


def test_a_fault_of_the_project_itself_is_blamed_on_no_part_of_the_draft(
    gate: PlayedGate, traffic: Traffic, hire: Hire, ids: Ids, project: str
) -> None:
    report = {
        "conforms": False,
        "results": [
            {"focus": f"<{ids.project(project)}>", "message": "no", "severity": "Violation"}
        ],
    }
    gate.rules.append(Once("POST", "/proposals", refuse(422, report=report)))
    traffic.send(*traffic.order())
    steward = hire()
    outcome = steward.run_once()
    assert (outcome.state, outcome.watermark, outcome.set_aside) == ("refused", 0, ())
    assert "[<" in outcome.reason
    assert steward.run_once().state == "proposed"


def test_facts_that_cannot_be_read_are_passed_over_in_the_end_and_counted(
    gate: PlayedGate, traffic: Traffic, hire: Hire, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        traffic.send(*traffic.order(f"t{number}"))
    limit = refuse(503, "facts-query-limit")

    def limited(method: str, path: str, body: bytes) -> Response | None:
        # Which batches there are can be told; what they show is too much to ask.
        return limit if path == "/facts" and b"argMin" in body else None

    gate.rules.append(limited)
    steward = hire(pacing=Pacing(page_facts=24))
    assert steward.run_once().state == "refused"
    assert steward.status()["watermark"] == 0
    assert steward.run_once().state == "refused"
    with caplog.at_level(logging.ERROR):
        outcome = steward.run_once()
    # By then the pages are as small as they can be: one batch is lost to the graph, not three.
    assert (outcome.state, outcome.watermark) == ("refused", 1)
    assert dict(outcome.set_aside) == {PASSED_OVER: 1}
    assert "passes over batches 1 to 1" in caplog.text
    gate.rules.clear()
    outcome = steward.run_once()
    assert (outcome.state, outcome.watermark) == ("proposed", 3)


@pytest.mark.parametrize(
    ("status", "kind"),
    [*((status, "refused") for status in (401, 403, 404, 500)), (422, "signature-refused")],
)
def test_what_is_no_fault_of_the_facts_holds_the_watermark(
    gate: PlayedGate, traffic: Traffic, hire: Hire, status: int, kind: str
) -> None:
    gate.rules.append(Once("POST", "/proposals", refuse(status, kind), times=MAX_REFUSALS))
    traffic.send(*traffic.order())
    steward = hire()
    for _ in range(MAX_REFUSALS):
        outcome = steward.run_once()
        assert (outcome.state, outcome.watermark) == ("failed", 0)
        assert outcome.reason == f"Refused ({status}): Not this time."
    assert f"failed: Refused ({status})" in str(steward.status()["last_outcome"])
    assert steward.run_once().state == "proposed"


def test_a_conflict_is_read_and_drafted_again(
    gate: PlayedGate, traffic: Traffic, hire: Hire, ids: Ids, project: str
) -> None:
    """Meanwhile somebody else has added what the steward was about to."""
    graph = NamedNode(ids.lineage_graph(project))
    web = NamedNode(ids.service(project, "web"))
    theirs = Quad(web, NamedNode(Rdfs.label), Literal("Web shop"), graph)

    def meanwhile(method: str, path: str, body: bytes) -> Response | None:
        if (method, path) != ("POST", "/proposals") or theirs in gate.store:
            return None
        gate.store.add(theirs)
        return refuse(409, "conflict")

    gate.rules.append(meanwhile)
    traffic.send(*traffic.order())
    outcome = hire().run_once()
    assert (outcome.state, len(outcome.proposals)) == ("proposed", 1)
    labels = gate.select(f"SELECT ?l {{ GRAPH {graph} {{ {web} <{Rdfs.label}> ?l }} }}")
    assert labels == [('"Web shop"',)]


def test_a_conflict_without_end_holds_the_watermark(
    gate: PlayedGate, traffic: Traffic, hire: Hire
) -> None:
    gate.rules.append(Once("POST", "/proposals", refuse(409), times=100))
    traffic.send(*traffic.order())
    outcome = hire().run_once()
    assert (outcome.state, outcome.watermark) == ("failed", 0)


def test_a_crash_between_the_answer_and_the_watermark_changes_nothing(
    gate: PlayedGate,
    traffic: Traffic,
    hire: Hire,
    watermarks: WatermarkStore,
    monkeypatch: pytest.MonkeyPatch,
    project: str,
) -> None:
    traffic.send(*traffic.order())

    def crash(record: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(watermarks, "save", crash)
        with pytest.raises(KeyboardInterrupt):
            hire().run_once()
    assert len(gate.made()) == 1
    assert watermarks.record("shop-steward", project).watermark == 0
    outcome = hire().run_once()
    assert (outcome.state, outcome.watermark) == ("unchanged", 1)
    assert len(gate.made()) == 1


def test_many_things_are_proposed_in_parts_that_each_conform(
    gate: PlayedGate, traffic: Traffic, hire: Hire, project: str
) -> None:
    traffic.send(*traffic.order())
    outcome = hire(limits=Limits(quads=30)).run_once()
    assert len(outcome.proposals) == len(gate.made()) > 3
    assert {made["state"] for made in gate.made()} == {"applied"}
    assert outcome.quads == len(gate.lineage(project).splitlines())


def test_names_that_carry_ids_fill_a_service_up_to_its_limit(
    gate: PlayedGate, traffic: Traffic, hire: Hire, project: str
) -> None:
    steward = hire(limits=Limits(operations=5))

    def work(first: int) -> list[Any]:
        names = [f"job {chr(97 + n)}" for n in range(first, first + 4)]
        return [
            traffic.span("t", str(n), "", "batch", "internal", name=name)
            for n, name in enumerate(names)
        ]

    traffic.send(*work(0))
    assert not steward.run_once().set_aside
    traffic.send(*work(4))
    assert dict(steward.run_once().set_aside) == {TOO_MANY_OPERATIONS: 3}
    assert gate.lineage(project).count(f"<{Fo.performs}>") == 5


def test_two_projects_keep_apart(
    gate: PlayedGate, traffic: Traffic, hire: Hire, classifier: Classifier, project: str
) -> None:
    other = type(traffic)(project + "-b", traffic.warehouse, classifier, seq=traffic.seq)
    other.send(*other.order())
    assert hire().run_once() == Outcome("idle", 0)


def test_a_damaged_file_is_begun_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "stewards.sqlite"
    path.write_bytes(b"not a database at all" * 100)
    store = WatermarkStore(path)
    assert store.record("a", "b").watermark == 0
    store.close()
    assert "stewards read their facts again" in caplog.text
    assert (tmp_path / "stewards.sqlite.damaged").exists()


def test_records_and_quads_set_aside_outlive_the_process(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "stewards.sqlite"
    node = NamedNode("http://example.org/a")
    quad = Quad(node, node, node, node)
    store = WatermarkStore(path)
    record = type(store.record("a", "p"))("a", "p", 7, "2026-11-22", "fine", 3, 2, 1)
    store.save(record)
    store.set_aside("a", [quad], until=100.0)
    store.close()
    store = WatermarkStore(path)
    assert store.record("a", "p") == record
    assert store.record("a", "another").watermark == 0
    assert store.aside("a", [quad], now=99.0) == {quad}
    assert store.aside("b", [quad], now=99.0) == frozenset()
    assert store.aside("a", [quad], now=100.0) == frozenset()
    store.close()
