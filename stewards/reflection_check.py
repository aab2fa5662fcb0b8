"""What reflection may propose, checked before anything is submitted.

Invariant: whatever wrote the draft, it says one new rule, with at most one new class and its shape,
in the words and at the places listed here, and takes nothing away. The gate asks for as much by its
own means (:mod:`proofs.policy`), and a person decides; this keeps nonsense from their desk, and
says why.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyoxigraph import Literal, NamedNode, Quad

from ontology.ids import Ids
from ontology.vocab import FOS, Fo, Owl, Rdf, Rdfs, Sh, Skos
from proofs.secret_text import holds_secret
from stewards.draft import Draft
from stewards.reflection_clusters import is_plain
from stewards.reflection_draft import CLASS, RULE, SHAPE

MAX_QUADS = 40
MAX_TEXT = 400
MAX_RATIONALE = 4_000

CLASSES = frozenset(
    {
        *(Fo.ProductEventType, Fo.LogEventType, Fo.Metric, Fo.EntityType, Fo.InternalOperation),
        *(Fo.HttpRoute, Fo.HttpCall, Fo.RpcMethod, Fo.RpcCall, Fo.DatabaseOperation, Fo.Page),
        *(Fo.PublishOperation, Fo.ConsumeOperation, Fo.ErrorIssue, Fo.Job, Fo.Workload),
    }
)
"""What events may be found to be: never a principal, a grant, or a rule."""

_RULE = {
    *(Rdf.type, Rdfs.label, Skos.definition, Fo.source, Fo.priority, Fo.whenName, Fo.whenKind),
    *(Fo.whenAttribute, Fo.whenAttributeEquals, Fo.classifiesAs, Fo.subjectKind),
    *(Fo.operationKind, Fo.nameTemplate),
}
_CLASS = {Rdf.type, Rdfs.label, Skos.definition, Rdfs.subClassOf}
_SHAPE = {Rdf.type, Sh.targetClass, Sh.property}
_TYPES = {RULE: Fo.ClassificationRule, CLASS: Owl.Class, SHAPE: Sh.NodeShape}


def refusal(draft: Draft, ids: Ids) -> str:
    """Why this draft isn't submitted; empty if it may be."""
    if draft.removals:
        return "it takes something away"
    if len(draft.quads) > MAX_QUADS:
        return f"it has {len(draft.quads)} quads, the limit is {MAX_QUADS}"
    if len(draft.rationale) > MAX_RATIONALE:
        return f"its rationale is longer than {MAX_RATIONALE} characters"
    if holds_secret(draft.rationale):
        return "its rationale looks like it holds a secret"
    places = {
        ids.graph("rules"): (RULE, _RULE),
        ids.graph("ontology"): (CLASS, _CLASS),
        ids.graph("shapes"): (SHAPE, _SHAPE),
    }
    subjects: dict[str, set[str]] = {}
    for quad in draft.quads:
        graph = quad.graph_name
        found = places.get(graph.value) if isinstance(graph, NamedNode) else None
        if found is None:
            return f"it writes to {graph}"
        kind, predicates = found
        subject = quad.subject
        if not isinstance(subject, NamedNode) or not subject.value.startswith(
            f"{ids.base}/id/{kind}/"
        ):
            return f"it speaks of {subject} in {graph}"
        subjects.setdefault(kind, set()).add(subject.value)
        if quad.predicate.value not in predicates:
            return f"it states {quad.predicate} of a {kind}"
        reason = _value_refusal(quad, kind, ids)
        if reason:
            return reason
    if any(len(named) > 1 for named in subjects.values()) or RULE not in subjects:
        return "it is not about one rule"
    return _new_class_refusal(draft.quads, subjects)


def _value_refusal(quad: Quad, kind: str, ids: Ids) -> str:
    predicate, value = quad.predicate.value, quad.object
    own_class = f"{ids.base}/id/{CLASS}/"
    allowed: bool
    if isinstance(value, Literal):
        if predicate in (Rdfs.label, Skos.definition) and not is_plain(value.value):
            return f"a text at {quad.predicate} holds markup or hidden characters"
        allowed = len(value.value) <= MAX_TEXT
    elif not isinstance(value, NamedNode):
        allowed = False
    elif predicate == Rdf.type:
        allowed = value.value == _TYPES[kind]
    elif predicate == Sh.property:
        allowed = value.value == f"{FOS}label"
    elif predicate == Rdfs.subClassOf:
        allowed = value.value in CLASSES
    elif predicate == Sh.targetClass:
        allowed = value.value.startswith(own_class)
    else:
        allowed = value.value in CLASSES or value.value.startswith(own_class)
    return "" if allowed else f"it states {str(value)[:100]} at {quad.predicate}"


def _new_class_refusal(quads: Sequence[Quad], subjects: dict[str, set[str]]) -> str:
    """A class and a shape come for the rule's sake, or not at all."""
    given = {_iri(quad) for quad in quads if quad.predicate.value == Fo.classifiesAs}
    targets = {_iri(quad) for quad in quads if quad.predicate.value == Sh.targetClass}
    if len(given) != 1 or subjects.get(CLASS, given) != given:
        return "its class is not the one that its rule gives"
    if SHAPE in subjects and targets != subjects.get(CLASS):
        return "its shape is for another class than the one that comes with it"
    return ""


def _iri(quad: Quad) -> str:
    return quad.object.value if isinstance(quad.object, NamedNode) else ""
