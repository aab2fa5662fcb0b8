"""The quads that the system itself writes about proposals and their proofs.

Invariant: what ``graph/proposals`` and ``graph/proofs`` hold is a pure function of the journal:
each entry's quads follow from the proposal as the entry leaves it. Texts stay in the journal; only
what can be joined stands in the graph. What concerns a restricted graph goes to
``graph/proposals/restricted``, which no merge holds. An order that only reads and that nobody had
to decide on stands in the journal alone: the graph grows with what is true, not with what is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pyoxigraph import Literal, NamedNode, Quad

from ontology.ids import Ids
from ontology.store import PROOFS, PROPOSALS, RESTRICTED_PROPOSALS
from ontology.terms import Delta, canonical_quad
from ontology.vocab import Fo, Rdf
from proofs.predicate import Proof
from proofs.proposal import ProposalView

_XSD = "http://www.w3.org/2001/XMLSchema#"

Current = Callable[[str, str], Iterable[Quad]]
"""The quads about a subject in a graph, both as IRIs."""


def system_delta(
    ids: Ids,
    index: int,
    leaf_hash: str,
    proof: Proof,
    views: Sequence[ProposalView],
    current: Current,
) -> Delta:
    """What entry ``index`` changes in the system graphs.

    ``views`` are the proposals as it leaves them, the one it is about first; ``current`` reads the
    store as it is.
    """
    additions = set(_proof_quads(ids, index, leaf_hash, proof, views[0] if views else None))
    removals: set[Quad] = set()
    for view in views:
        if not view.is_listed:
            continue
        graph = proposal_graph(ids, view)
        wanted = set(_proposal_quads(ids, graph, view))
        nodes = [view.iri, ids.instance("validation", view.id)]
        nodes += [ids.decision(view.id, number) for number in range(len(view.decisions))]
        present = {quad for node in nodes for quad in current(node, graph)}
        additions |= wanted - present
        removals |= present - wanted
    return Delta(frozenset(additions), frozenset(removals))


def proposal_graph(ids: Ids, view: ProposalView) -> str:
    return ids.graph(RESTRICTED_PROPOSALS if view.restricted else PROPOSALS)


def _proof_quads(
    ids: Ids, index: int, leaf_hash: str, proof: Proof, view: ProposalView | None
) -> Iterable[Quad]:
    subject = ids.proof(index)
    graph = ids.graph(PROOFS)
    yield _iri(subject, Rdf.type, Fo.Proof, graph)
    yield _integer(subject, Fo.logIndex, index, graph)
    yield _text(subject, Fo.leafHash, leaf_hash, graph)
    yield _text(subject, Fo.outcome, proof.kind, graph)
    if view is not None and view.is_listed:
        yield _iri(subject, Fo.concernsProposal, view.iri, graph)


def _proposal_quads(ids: Ids, graph: str, view: ProposalView) -> Iterable[Quad]:
    subject = view.iri
    yield _iri(subject, Rdf.type, Fo.Proposal, graph)
    if view.order is not None:
        yield _iri(subject, Rdf.type, Fo.Order, graph)
        yield _iri(subject, Fo.concernsAsset, view.order["asset"], graph)
    yield _text(subject, Fo.state, _shown_state(view), graph)
    yield _iri(subject, Fo.author, view.author, graph)
    yield _time(subject, Fo.submittedAt, view.submitted_at, graph)
    if view.project is not None:
        yield _iri(subject, Fo.project, ids.project(view.project), graph)
    for target in view.graphs:
        yield _iri(subject, Fo.targetGraph, target, graph)
    for digest in view.evidence:
        yield _iri(subject, Fo.evidence, ids.evidence(digest.removeprefix("sha256:")), graph)
    if view.proof is not None:
        yield _integer(subject, Fo.logIndex, view.proof, graph)
    if view.reverts is not None:
        yield _iri(subject, Fo.reverts, ids.proposal(view.reverts), graph)
    if view.signed_with:
        yield _iri(subject, Fo.signedWith, view.signed_with, graph)
    if view.report is not None:
        validation = ids.instance("validation", view.id)
        yield _iri(validation, Rdf.type, Fo.Validation, graph)
        yield _iri(validation, Fo.concernsProposal, subject, graph)
        conforms = "true" if view.report["conforms"] else "false"
        yield _quad(validation, Fo.conforms, _typed(conforms, "boolean"), graph)
    for number, decision in enumerate(view.decisions):
        node = ids.decision(view.id, number)
        yield _iri(node, Rdf.type, Fo.Decision, graph)
        yield _iri(node, Fo.concernsProposal, subject, graph)
        yield _iri(node, Fo.decidedBy, decision.by, graph)
        yield _text(node, Fo.outcome, decision.outcome, graph)
        yield _time(node, Fo.decidedAt, decision.at, graph)
        single = "true" if decision.single_person else "false"
        yield _quad(node, Fo.singlePerson, _typed(single, "boolean"), graph)


def _shown_state(view: ProposalView) -> str:
    # "proven" is a matter of publication, which the journal does not wait for.
    return "applied" if view.state == "proven" else view.state


def _quad(subject: str, predicate: str, value: NamedNode | Literal, graph: str) -> Quad:
    return canonical_quad(Quad(NamedNode(subject), NamedNode(predicate), value, NamedNode(graph)))


def _iri(subject: str, predicate: str, value: str, graph: str) -> Quad:
    return _quad(subject, predicate, NamedNode(value), graph)


def _text(subject: str, predicate: str, value: str, graph: str) -> Quad:
    return _quad(subject, predicate, Literal(value), graph)


def _typed(value: str, datatype: str) -> Literal:
    return Literal(value, datatype=NamedNode(_XSD + datatype))


def _integer(subject: str, predicate: str, value: int, graph: str) -> Quad:
    return _quad(subject, predicate, _typed(str(value), "integer"), graph)


def _time(subject: str, predicate: str, value: str, graph: str) -> Quad:
    return _quad(subject, predicate, _typed(value, "dateTime"), graph)
