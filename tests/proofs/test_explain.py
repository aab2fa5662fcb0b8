"""For every asserted quad: which entry stated it, on whose word, and a bundle that proves it."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest
from pyoxigraph import Literal, NamedNode, Quad

from ontology.vocab import Prov, Rdf
from proofs.errors import JournalCorrupt, JournalError
from proofs.explain import Explainer
from proofs.verdict import Status
from proofs.verify import verify_bundle

if TYPE_CHECKING:
    from tests.proofs.conftest import Gate

EVIDENCE = "sha256:" + "ab" * 32


def a_quad(gate: Gate, value: str, graph: str = "lineage/shop") -> Quad:
    return next(quad for quad in gate.asserted(graph) if quad.object == Literal(value))


def test_a_quad_leads_to_its_proposal(gate: Gate) -> None:
    view = gate.propose(gate.service("web"), evidence=[EVIDENCE], rationale="seen in traffic")
    explained = gate.explainer().explain(a_quad(gate, "web"))
    assert explained is not None
    assert (explained.index, explained.graph) == (view.proof, gate.ids.lineage_graph("shop"))
    assert explained.proposal == gate.ledger.proposal(view.id)
    assert explained.proposal.rationale == "seen in traffic"
    assert explained.proof.evidence == (EVIDENCE,)
    assert explained.proof.shapes == gate.projections.versions["shapes"]
    assert explained.proof.ontology == gate.projections.versions["ontology"]
    assert explained.proof.report is not None
    assert explained.proof.report.conforms


def test_a_quad_stated_anew_leads_to_the_newest_statement(gate: Gate) -> None:
    first = gate.propose(gate.service("web"))
    quad = a_quad(gate, "web")
    gate.ledger.revert(gate.steward, first.id, "")
    explainer = gate.explainer()
    assert explainer.explain(quad) is None
    again = gate.propose(gate.service("web"))
    explained = explainer.explain(quad)
    assert explained is not None
    assert explained.index == again.proof


def test_every_quad_there_is_has_an_origin(gate: Gate) -> None:
    explainer = gate.explainer()
    for graph in ("governance", "shapes"):
        for quad in sorted(gate.asserted(graph), key=str)[:20]:
            explained = explainer.explain(quad)
            assert explained is not None
            assert explained.graph == gate.ids.graph(graph)


def test_what_is_not_there_has_none(gate: Gate) -> None:
    view = gate.propose('ex:T a owl:Class ; rdfs:label "t" .', "ontology", by=gate.operator)
    asked = next(iter(gate.ledger.delta_of(view).additions))
    assert gate.explainer().explain(asked) is None


def test_a_triple_of_two_graphs_names_both(gate: Gate) -> None:
    gate.propose("ex:a ex:p 'x' .")
    gate.propose("ex:a ex:p 'x' .", "lineage/billing", by=gate.operator)
    graphs = gate.explainer().graphs(a_quad(gate, "x"))
    assert graphs == [gate.ids.lineage_graph("billing"), gate.ids.lineage_graph("shop")]
    nowhere = Quad(NamedNode("http://e/none"), NamedNode("http://e/p"), Literal("x"))
    assert gate.explainer().graphs(nowhere) == []


def test_an_index_that_lies_is_not_believed(gate: Gate) -> None:
    gate.propose(gate.service("web"))
    quad = a_quad(gate, "web")
    connection = sqlite3.connect(gate.folder / "index.sqlite")
    with connection:
        connection.execute("UPDATE origins SET entry = 1")
    connection.close()
    with pytest.raises(JournalCorrupt, match="says entry 1 states"):
        gate.explainer().explain(quad)


def test_every_entry_has_a_bundle_that_verifies_offline(gate: Gate) -> None:
    explainer = gate.explainer()
    for number in range(5):
        gate.propose(f"ex:a ex:p {number} .")
        # As the log grows, the same explainer goes on from what it has.
        for index in range(gate.ledger.head + 1):
            verdict = verify_bundle(explainer.bundle(index), gate.key.verifier)
            assert verdict.status is Status.UNANCHORED, verdict
    with pytest.raises(JournalError, match="no entry 99"):
        explainer.bundle(99)


def test_a_bundle_carries_the_way_from_a_checkpoint_somebody_kept(gate: Gate) -> None:
    kept = gate.journal.checkpoint(2)
    gate.propose(gate.service("web"))
    bundle = gate.explainer().bundle(3, since=2)
    verdict = verify_bundle(bundle, gate.key.verifier, trusted_checkpoint=kept)
    assert verdict.status is not Status.INVALID, verdict
    assert verdict.status is not Status.DIVERGED, verdict
    with pytest.raises(JournalError, match="no checkpoint of size 50"):
        gate.explainer().bundle(3, since=50)


def test_a_new_explainer_makes_the_same_bundle(gate: Gate) -> None:
    gate.propose(gate.service("web"))
    explainer = gate.explainer()
    one = explainer.bundle(3)
    assert one == explainer.bundle(3) == gate.explainer().bundle(3)
    assert isinstance(explainer, Explainer)


def test_what_is_inferred_is_explained_by_what_entries_state(gate: Gate) -> None:
    view = gate.propose(gate.service("web"))
    web = NamedNode("http://example.org/web")
    asked = Quad(web, NamedNode(Rdf.type), NamedNode(Prov.Agent), gate.store.inferred)
    assert asked in gate.store
    explainer = gate.explainer()
    assert explainer.explain(asked) is None
    derivation = explainer.derivation(asked, frozenset())
    assert derivation is not None
    assert derivation.rule == "rdfs:subClassOf"
    entries = []
    for premise in derivation.stated():
        named = Quad(premise.subject, premise.predicate, premise.object)
        (graph,) = explainer.graphs(named)
        found = explainer.explain(
            Quad(premise.subject, premise.predicate, premise.object, NamedNode(graph))
        )
        assert found is not None
        entries.append(found.index)
    assert entries == [view.proof, 0, 0]
    gate.ledger.revert(gate.steward, view.id, "")
    assert explainer.derivation(asked, frozenset()) is None
