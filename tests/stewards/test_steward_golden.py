"""From the bytes an SDK sent to the N-Quads a steward proposes, held against a golden file.

The payloads were sent by the official SDK and its instrumentation: the four processes of
``examples/shop``, two orders. To write the golden file anew after a wanted change, run this test
with ``WRITE_GOLDEN=1`` in the environment, and read the difference.
"""

from __future__ import annotations

import os
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyoxigraph import Quad

from ingest.classify import Classifier
from ingest.events import Event
from ingest.otlp import PROTOBUF
from ingest.otlp_spans import decode
from ingest.warehouse import Warehouse
from ontology.ids import Ids
from ontology.terms import to_nquads
from stewards.claims import claims
from stewards.draft import Draft, Held, Limits, drafts
from stewards.fact_queries import Page
from stewards.fact_rows import read
from stewards.observe import observations

if TYPE_CHECKING:
    from tests.stewards.conftest import Hire, PlayedGate

GOLDEN = Path(__file__).parent / "golden"
SERVICES = ("storefront", "orders", "catalogue", "fulfilment")


def batch(seq: int) -> str:
    return f"sha256:{seq:064x}"


def payloads(project: str, classifier: Classifier) -> list[list[Event]]:
    """The spans of each payload, classified."""
    return [
        [
            classifier.classify(event)
            for event in decode(
                (GOLDEN / f"shop-{service}.pb").read_bytes(), PROTOBUF, project=project
            )
        ]
        for service in SERVICES
    ]


def steward_through(
    warehouse: Warehouse, ids: Ids, project: str, batches: list[list[Event]]
) -> tuple[set[Quad], list[Draft]]:
    """The graph after each batch arrived, and was read, before the next one came."""
    graph: set[Quad] = set()
    made: list[Draft] = []

    def ask(sql: str) -> tuple[tuple[object, ...], ...]:
        return warehouse.query(sql).rows

    for seq, events in enumerate(batches, 1):
        warehouse.insert([event._replace(seq=seq, batch=batch(seq)) for event in events])
        seen = observations(read(Page(project, seq - 1, seq, len(events)), ask))
        held = Held(
            frozenset(graph),
            frozenset((str(q.subject)[1:-1], q.predicate.value) for q in graph),
        )
        for draft in drafts(claims(seen, ids, project).claims, held, Limits()).drafts:
            made.append(draft)
            graph |= set(draft.quads)
    return graph, made


def test_payloads_become_the_golden_proposals(
    warehouse: Warehouse, classifier: Classifier, ids: Ids, project: str
) -> None:
    _, made = steward_through(warehouse, ids, project, payloads(project, classifier))
    text = "".join(
        f"# {draft.rationale}\n# {' '.join(draft.evidence)}\n{draft.additions}\n" for draft in made
    ).replace(project, "shop")
    golden = GOLDEN / "shop-proposals.nq"
    if os.environ.get("WRITE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("order", list(permutations(range(4)))[5::7])
def test_the_order_of_the_batches_does_not_matter(
    warehouse: Warehouse,
    classifier: Classifier,
    ids: Ids,
    project: str,
    order: tuple[int, ...],
) -> None:
    given_ = payloads(project, classifier)
    graph, _ = steward_through(warehouse, ids, project, [given_[number] for number in order])
    text = to_nquads(graph).decode().replace(project, "shop")
    assert text.splitlines() == golden_quads()


@pytest.mark.parametrize("longest", [1, 12])
def test_long_traces_are_read_another_way_and_say_the_same(
    warehouse: Warehouse,
    classifier: Classifier,
    ids: Ids,
    project: str,
    longest: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stewards.fact_queries.MAX_ARRAY", longest)
    graph, _ = steward_through(warehouse, ids, project, payloads(project, classifier))
    text = to_nquads(graph).decode().replace(project, "shop")
    assert text.splitlines() == golden_quads()


def golden_quads() -> list[str]:
    lines = (GOLDEN / "shop-proposals.nq").read_text(encoding="utf-8").splitlines()
    return sorted(line for line in lines if line and not line.startswith("#"))


def test_the_gate_and_its_shapes_take_what_the_sdk_sent(
    gate: PlayedGate,
    hire: Hire,
    warehouse: Warehouse,
    classifier: Classifier,
    project: str,
) -> None:
    for seq, events in enumerate(payloads(project, classifier), 1):
        warehouse.insert([event._replace(seq=seq, batch=batch(seq)) for event in events])
    outcome = hire().run_once()
    assert outcome.state == "proposed"
    assert not outcome.set_aside
    text = gate.lineage(project).replace(project, "shop")
    assert text.splitlines() == golden_quads()


@settings(max_examples=5, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(2, 4))
def test_however_spans_are_dealt_out_to_batches_the_graph_ends_the_same(
    warehouse: Warehouse, classifier: Classifier, ids: Ids, random: object, parts: int
) -> None:
    import random as randomness

    assert isinstance(random, randomness.Random)
    project = f"dealt-{random.getrandbits(64):x}"
    spans = [event for payload in payloads(project, classifier) for event in payload]
    random.shuffle(spans)
    batches: list[list[Event]] = [[] for _ in range(parts)]
    for span in spans:
        batches[random.randrange(parts)].append(span)
    graph, _ = steward_through(warehouse, ids, project, batches)
    text = to_nquads(graph).decode().replace(project, "shop")
    assert text.splitlines() == golden_quads()
