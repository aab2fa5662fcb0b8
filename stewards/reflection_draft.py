"""What a steward proposes for a cluster of unknown facts: a rule, and a class where there is none.

Invariant: a pure function of cluster, words and time. Its IRIs are minted from what the rule asks,
without the project, so that two stewards that see the same propose the same. Events that have a
place in the ontology get a rule for it; check-ins and logs of an error tracker are things that it
has no class for, and come with a class and its shape. What the shipped rules leave without a class
on purpose (transactions, sessions, messages that are no errors) makes no proposal.
The rules are graph data: https://w3id.org/fractalops/ns#ClassificationRule
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pyoxigraph import Literal, NamedNode, Quad

from ingest.classify import OPERATION
from ingest.events import (
    ENTITY_SOURCE,
    ERROR_SOURCE,
    LOG_SOURCE,
    METRIC_SOURCE,
    PRODUCT_SOURCE,
    SPAN_SOURCE,
)
from ontology.ids import Ids
from ontology.terms import canonical_quad
from ontology.vocab import FO, FOS, Fo, Owl, Rdf, Rdfs, Sh, Skos
from stewards.draft import Draft
from stewards.names import shown
from stewards.reflection_clusters import OURS, SHOWN_VALUE, Cluster, shape
from stewards.reflection_terms import Term

PRIORITY = 50
"""Above the rules for whatever has none of its own (10), below those that know what they fit."""
RULE, CLASS, SHAPE = "classification-rule", "class", "shape"
_INTEGER = NamedNode("http://www.w3.org/2001/XMLSchema#integer")
MAX_RATIONALE = 3_600
_SHOWN_ATTRIBUTES = 6
_EVENT_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")


@dataclass(frozen=True)
class Place:
    """What the events of a cluster are: their class, and a subject of a kind that
    :data:`ingest.classify.SUBJECTS` knows. ``parent`` is set where the class is new."""

    event_class: str
    subject_kind: str
    parent: str = ""


@dataclass(frozen=True)
class Words:
    """How the rule is called and defined; ``said_by`` names the model, if one was asked."""

    label: str
    definition: str
    said_by: str = ""


@dataclass(frozen=True)
class Effect:
    """Stored facts of the project that the rule would choose the class of, counted by the class
    they have (empty for none)."""

    changes: Mapping[str, int]


_PLACES = {
    PRODUCT_SOURCE: Place(Fo.ProductEventType, "product-event-type"),
    LOG_SOURCE: Place(Fo.LogEventType, "log-event-type"),
    METRIC_SOURCE: Place(Fo.Metric, "metric"),
    ENTITY_SOURCE: Place(Fo.EntityType, "entity-type"),
    SPAN_SOURCE: Place(Fo.InternalOperation, OPERATION),
}
_NEW = {(ERROR_SOURCE, "check-in"): "check-in", (ERROR_SOURCE, "log"): "tracker-log"}


def place_of(cluster: Cluster, ids: Ids) -> Place | None:
    """What the cluster's events are, if that is to be proposed at all."""
    new = _NEW.get((cluster.source, cluster.kind))
    if new:
        return Place(ids.instance(CLASS, new), OPERATION, Fo.InternalOperation)
    return _PLACES.get(cluster.source)


def rule_iri(cluster: Cluster, ids: Ids) -> str:
    """The IRI of the rule for these events, which says what they are known by."""
    return ids.instance(RULE, cluster.source, cluster.kind or "-", cluster.when_name)


def plain_words(cluster: Cluster) -> Words:
    """Words made of what the facts say, without anybody's help."""
    label = cluster.name.replace("{id}", "…")
    kind = f" of kind {cluster.kind}" if cluster.kind else ""
    begins = "whose name begins with" if cluster.when_name.endswith("*") else "named"
    said = cluster.when_name.removesuffix("*").strip()
    return Words(label, f"An event{kind} from {cluster.source} {begins} '{said}'.")


def quads_of(cluster: Cluster, place: Place, words: Words, ids: Ids) -> tuple[Quad, ...]:
    """The rule; with class and shape where the class is new. In canonical form, sorted."""
    rule = rule_iri(cluster, ids)
    values: list[tuple[str, NamedNode | Literal]] = [
        (Rdf.type, NamedNode(Fo.ClassificationRule)),
        (Rdfs.label, Literal(words.label)),
        (Skos.definition, Literal(words.definition)),
        (Fo.source, Literal(cluster.source)),
        (Fo.priority, Literal(str(PRIORITY), datatype=_INTEGER)),
        (Fo.whenName, Literal(cluster.when_name)),
        (Fo.classifiesAs, NamedNode(place.event_class)),
        (Fo.nameTemplate, Literal("{event.name}")),
    ]
    if cluster.kind:
        values.append((Fo.whenKind, Literal(cluster.kind)))
    if place.subject_kind == OPERATION:
        values.append((Fo.operationKind, Literal(cluster.kind or "internal")))
    else:
        values.append((Fo.subjectKind, Literal(place.subject_kind)))
    quads = _quads(rule, values, ids.graph("rules"))
    if place.parent:
        name = place.event_class.rsplit("/", 1)[1]
        quads += _quads(
            place.event_class,
            [
                (Rdf.type, NamedNode(Owl.Class)),
                (Rdfs.label, Literal(name.replace("-", " ").capitalize())),
                (Skos.definition, Literal(f"What {cluster.kind} events of {cluster.source} tell.")),
                (Rdfs.subClassOf, NamedNode(place.parent)),
            ],
            ids.graph("ontology"),
        )
        quads += _quads(
            ids.instance(SHAPE, name),
            [
                (Rdf.type, NamedNode(Sh.NodeShape)),
                (Sh.targetClass, NamedNode(place.event_class)),
                (Sh.property, NamedNode(f"{FOS}label")),
            ],
            ids.graph("shapes"),
        )
    return tuple(sorted(quads, key=str))


def _quads(
    subject: str, values: Iterable[tuple[str, NamedNode | Literal]], graph: str
) -> list[Quad]:
    return [
        canonical_quad(Quad(NamedNode(subject), NamedNode(predicate), value, NamedNode(graph)))
        for predicate, value in values
    ]


def drafted(
    cluster: Cluster,
    place: Place,
    words: Words,
    closest: Sequence[tuple[Term, float]],
    effect: Effect,
    ids: Ids,
    project: str,
) -> Draft:
    """The proposal, with what a person needs in order to decide on it."""
    said = "\n".join(_told(cluster, place, words, closest, effect, project))
    return Draft(quads_of(cluster, place, words, ids), said[:MAX_RATIONALE], cluster.batches)


def _told(
    cluster: Cluster,
    place: Place,
    words: Words,
    closest: Sequence[tuple[Term, float]],
    effect: Effect,
    project: str,
) -> Iterable[str]:
    kind = f", kind {cluster.kind}" if cluster.kind else ""
    new = "the new class" if place.parent else "the class"
    name = shown(cluster.when_name)
    yield (
        f"No rule of their own fits {cluster.facts:,} facts named '{name}' ({cluster.source}{kind})"
        f" of project {project}, {cluster.trusted:,} of them from trusted senders, the newest"
        f" received {cluster.last}. Proposed: a rule that gives such events {new}"
        f" {_short(place.event_class)}. A rule is for all projects."
    )
    changes = ", ".join(
        f"{count:,} now {_short(before) if before else 'without a class'}"
        for before, count in sorted(effect.changes.items())
    )
    total = sum(effect.changes.values())
    yield (
        f"What would change: the next such events, and {total:,} stored facts of the project"
        f" ({changes or 'none'}) once 'fractalops classify rerun --project {project}' is asked for."
    )
    terms = ", ".join(f"{_short(term.iri)} '{shown(term.label)}' {n:.2f}" for term, n in closest)
    yield f"Closest existing terms (likeness up to 1): {terms or 'none'}."
    keys = _telling(cluster.keys)
    if keys:
        yield f"Attributes that all of them have: {', '.join(map(_safe, keys[:20]))}."
    for example in cluster.examples:
        told = _telling(example.attributes)
        values = ", ".join(
            f"{_safe(key)}={cluster.shared.get(key) or shape(example.attributes[key])}"
            for key in told[:_SHOWN_ATTRIBUTES]
        )
        known = example.event_id if _EVENT_ID.fullmatch(example.event_id) else "without a plain id"
        yield f"Example {known} '{_safe(example.name)}': {values or 'nothing'}."
    if words.said_by:
        yield f"Label and definition are worded by {words.said_by}; everything else is counted."


def _telling(keys: Iterable[str]) -> list[str]:
    """The sender's own keys first, then those of its client; none that the platform added."""
    found = (key for key in keys if not key.startswith(OURS))
    return sorted(found, key=lambda key: (key.startswith("$"), key))


def _safe(value: str) -> str:
    """A stranger's text as part of a sentence: one line, and no markup."""
    return "".join(sign for sign in shown(value[:SHOWN_VALUE]) if sign not in "<>`[]")


def _short(iri: str) -> str:
    return f"fo:{iri.removeprefix(FO)}" if iri.startswith(FO) else iri
