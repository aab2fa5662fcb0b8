"""A steward's reflection: what stayed unknown becomes proposals of rules, each for a person.

Invariant: at most once in an interval, and at most ``MAX_OPEN`` of its proposals wait at a time. A
rule that waits isn't proposed again, nor is one that was turned down in the last ``QUIET`` days; a
rule that the graph has is never proposed, and facts that it would fit wait for nothing but to be
classified again. What the gate has recorded is what is remembered: nothing here has to be kept but
the time of the last reflection. Every proposal changes what belongs to the organisation, so the
gate holds it for a person other than its author, whoever worded it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice

from pyoxigraph import Literal, NamedNode, Quad

from ingest.classify import Classifier, Rule, rules_from_quads
from ingest.events import Event
from ontology.ids import Ids
from ontology.terms import from_nquads
from ontology.vocab import Fo, Rdf
from stewards import reflection_clusters, reflection_terms
from stewards.draft import Draft
from stewards.errors import ModelAnswerRefused, UnexpectedAnswer
from stewards.exchange import Json
from stewards.fact_queries import text
from stewards.fact_rows import Ask
from stewards.gate_client import GateClient
from stewards.reflection_check import refusal
from stewards.reflection_clusters import Cluster, fallbacks
from stewards.reflection_draft import (
    PRIORITY,
    Effect,
    Words,
    drafted,
    place_of,
    plain_words,
    rule_iri,
)
from stewards.reflection_model import Wording

LOGGER = logging.getLogger(__name__)

MAX_OPEN = 3
QUIET = timedelta(days=30)
NEWEST_PROPOSALS = 500
"""Of each state, the proposals that are looked at."""
MAX_RULE_QUADS = 50_000
_TURNED_DOWN = ("rejected", "withdrawn", "reverted", "invalid")

NO_ROOM = "kinds of unknown events for whose rules there was no room among those that wait"
NOT_PROPOSED = "rules that were drafted and not proposed"
PLAIN = "rules whose wording by a model was refused"


@dataclass(frozen=True)
class Reflection:
    """What one came to: the drafts to submit, and what was set aside, counted by reason."""

    drafts: tuple[Draft, ...] = ()
    set_aside: Mapping[str, int] = field(default_factory=dict)


def reflect(
    project: str,
    ask: Ask,
    client: GateClient,
    ids: Ids,
    principal: str,
    now: datetime,
    wording: Wording | None = None,
) -> Reflection:
    """What the steward ``principal`` would propose now for what is unknown in the project.

    ``ask`` answers questions about all of the project's facts. Nothing is submitted. Raises
    :class:`stewards.errors.StewardError`.
    """
    head = client.progress().head
    rules = _rules(client, ids, head)
    general = fallbacks(rules)
    found = reflection_clusters.find(project, general, ask)
    set_aside = Counter(found.set_aside)
    if not found.clusters:
        return Reflection((), dict(set_aside))
    classifier = Classifier(rules, ids)
    known = {rule.iri for rule in rules}
    waiting, quiet = _own_rules(client, project, principal, ids, now)
    terms = reflection_terms.read(
        client.query(reflection_terms.question(ids.graph("ontology")), head)
    )
    drafts: list[Draft] = []
    for cluster in found.clusters:
        place, rule = place_of(cluster, ids), rule_iri(cluster, ids)
        if place is None or rule in known | waiting | quiet:
            continue
        if _is_fitted(cluster, classifier, general, project):
            # It waits to be classified again, and for nothing else.
            continue
        if len(waiting) + len(drafts) >= MAX_OPEN:
            set_aside[NO_ROOM] += 1
            continue
        words = _words(cluster, wording, now, set_aside)
        closest = reflection_terms.closest(
            cluster.name, (cluster.source, cluster.kind, *cluster.keys), terms
        )
        effect = _effect(cluster, rules, project, ask)
        draft = drafted(cluster, place, words, closest, effect, ids, project)
        reason = refusal(draft, ids)
        if reason:
            LOGGER.warning("steward of %s: no rule for %r: %s", project, cluster.name, reason)
            set_aside[NOT_PROPOSED] += 1
            continue
        drafts.append(draft)
    return Reflection(tuple(drafts), dict(set_aside))


def _words(
    cluster: Cluster, wording: Wording | None, now: datetime, set_aside: Counter[str]
) -> Words:
    plain = plain_words(cluster)
    if wording is None:
        return plain
    try:
        return wording.reword(cluster, plain, now.astimezone(UTC).date())
    except ModelAnswerRefused as error:
        LOGGER.warning("the model's words for %r are not used: %s", cluster.name, error)
        set_aside[PLAIN] += 1
        return plain


def _rules(client: GateClient, ids: Ids, head: int) -> tuple[Rule, ...]:
    """The rules of the graph, by which new facts are classified."""
    graph = NamedNode(ids.graph("rules"))
    found = client.query(
        f"SELECT ?s ?p ?o WHERE {{ GRAPH {graph} {{ ?s <{Rdf.type}> <{Fo.ClassificationRule}> ;"
        f" ?p ?o }} }} ORDER BY ?s ?p ?o LIMIT {MAX_RULE_QUADS:d}",
        head,
    )
    return rules_from_quads(
        Quad(subject, predicate, value, graph)
        for solution in found
        if isinstance(subject := solution.get("s"), NamedNode)
        and isinstance(predicate := solution.get("p"), NamedNode)
        and isinstance(value := solution.get("o"), NamedNode | Literal)
    )


def _is_fitted(
    cluster: Cluster, classifier: Classifier, general: frozenset[str], project: str
) -> bool:
    """Whether a rule of the graph fits what the cluster's examples show."""
    rules = (
        classifier.classify(
            Event(
                project,
                cluster.source,
                example.event_id,
                *(0, 0, example.name, cluster.kind, "", "", "", "", "", "", "", ""),
                attributes=example.attributes,
            )
        ).rule
        for example in cluster.examples
    )
    return all(rule and rule not in general for rule in rules)


def _effect(cluster: Cluster, rules: Sequence[Rule], project: str, ask: Ask) -> Effect:
    """Stored facts that the rule for this cluster would choose the class of. Those that were
    classified by a rule that is gone, or comes later, are among them."""
    stronger = [
        rule.iri for rule in rules if rule.source == cluster.source and rule.priority >= PRIORITY
    ]
    wanted = cluster.when_name
    named = (
        f"startsWith(name, {text(wanted[:-1])})"
        if wanted.endswith("*")
        else f"name = {text(wanted)}"
    )
    if cluster.kind:
        named += f" AND kind = {text(cluster.kind)}"
    if stronger:
        named += f" AND rule NOT IN ({', '.join(map(text, stronger))})"
    answer = ask(
        f"SELECT class, count() AS facts FROM events WHERE project = {text(project)}"
        f" AND source = {text(cluster.source)} AND {named} GROUP BY class ORDER BY class"
    )
    return Effect({str(before): int(count) for before, count in answer})


def _own_rules(
    client: GateClient, project: str, principal: str, ids: Ids, now: datetime
) -> tuple[set[str], set[str]]:
    """The rules of the steward's proposals that wait, and of those turned down not long ago."""
    graph = ids.graph("rules")
    waiting: set[str] = set()
    quiet: set[str] = set()
    for state in ("awaiting decision", *_TURNED_DOWN):
        listed = client.proposals(state=state, project=project)
        for proposal in islice(listed, NEWEST_PROPOSALS):
            if proposal.get("author") != principal or graph not in proposal.get("graphs", ()):
                continue
            if state == "awaiting decision":
                waiting |= _proposed(client, proposal)
            elif _ended(proposal) > now - QUIET:
                quiet |= _proposed(client, proposal)
    return waiting, quiet


def _proposed(client: GateClient, proposal: Json) -> set[str]:
    additions, _ = client.diff(str(proposal.get("id")))
    try:
        quads = from_nquads(additions.encode())
        return {
            quad.subject.value
            for quad in quads
            if isinstance(quad.subject, NamedNode)
            and quad.predicate.value == Rdf.type
            and quad.object == NamedNode(Fo.ClassificationRule)
        }
    except SyntaxError as error:
        raise UnexpectedAnswer(f"the diff of a proposal is no N-Quads: {error}") from error


def _ended(proposal: Json) -> datetime:
    """When its last state began."""
    try:
        return datetime.fromisoformat(str(proposal["transitions"][-1]["at"]))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise UnexpectedAnswer(f"a proposal has no transitions with times ({error!r})") from error
