"""Finds things that would have to be of two disjoint classes, and says why.

Invariant: sound, not complete. Every type is derived by rules that OWL 2 entails (types,
subclasses, named equivalents, subproperties, inverses, domains and ranges), so a clash found here
is a real contradiction; one that needs more reasoning than this is left to the reasoner.
Rules: https://www.w3.org/TR/owl2-profiles/#Reasoning_in_OWL_2_RL_and_RDF_Graphs_using_Rules
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

from pyoxigraph import BlankNode, Literal, NamedNode, Triple

from ontology.vocab import PREFIXES, Owl, Rdf, Rdfs

Node = NamedNode | BlankNode


@dataclass(frozen=True)
class Clash:
    """One thing, the two disjoint classes it falls under, and the reasons in words."""

    subject: str
    first: str
    second: str
    sentence: str


def compact(iri: str) -> str:
    """The IRI by its common prefix, or in angle brackets."""
    for prefix, namespace in PREFIXES.items():
        if iri.startswith(namespace):
            return f"{prefix}:{iri[len(namespace) :]}"
    return f"<{iri}>"


def find_clashes(triples: Iterable[Triple]) -> list[Clash]:
    """Every named thing and class that falls under two disjoint classes, in the order of IRIs."""
    return _Closure(list(triples)).clashes()


class _Closure:
    def __init__(self, triples: list[Triple]) -> None:
        self.objects: dict[tuple[Node, str], list[Node]] = defaultdict(list)
        self.parents: dict[Node, set[Node]] = defaultdict(set)
        self.parent_properties: dict[str, set[str]] = defaultdict(set)
        self.inverses: dict[str, set[str]] = defaultdict(set)
        self.triples = triples
        for triple in triples:
            s, p, o = triple.subject, triple.predicate.value, triple.object
            if isinstance(s, Triple) or not isinstance(o, NamedNode | BlankNode):
                continue
            self.objects[s, p].append(o)
            if p == Rdfs.subClassOf:
                self.parents[s].add(o)
            elif p == Owl.equivalentClass:
                self.parents[s].add(o)
                self.parents[o].add(s)
            elif p in (Owl.unionOf, Owl.disjointUnionOf):
                for member in self._list(o):
                    self.parents[member].add(s)
            elif p == Rdfs.subPropertyOf:
                self.parent_properties[s.value].add(o.value)
            elif p == Owl.inverseOf:
                self.inverses[s.value].add(o.value)
                self.inverses[o.value].add(s.value)
        self.disjoint = self._disjoint_pairs()

    def clashes(self) -> list[Clash]:
        found = []
        stated = self._stated_types()
        for subject in sorted(stated, key=lambda node: node.value):
            found += self._clashes_of(subject, stated[subject], "is")
        for subject in sorted(self.parents, key=lambda node: node.value):
            found += self._clashes_of(subject, {subject: ""}, "falls under")
        return found

    def _clashes_of(self, subject: Node, reasons: dict[Node, str], verb: str) -> list[Clash]:
        if not isinstance(subject, NamedNode):
            return []
        reached: dict[Node, str] = {}
        for start, reason in reasons.items():
            for node, steps in self._ancestors(start).items():
                text = "; ".join(part for part in (reason, steps) if part)
                if node not in reached or len(text) < len(reached[node]):
                    reached[node] = text
        pairs = [pair for pair in self.disjoint if pair <= reached.keys()]
        found = []
        for first, second in sorted(tuple(sorted(n.value for n in pair)) for pair in pairs):
            one, other = (
                f"{compact(iri)} ({reached[NamedNode(iri)] or 'itself'})" for iri in (first, second)
            )
            sentence = f"{compact(subject.value)} {verb} both {one} and {other}; they are disjoint"
            found.append(Clash(subject.value, first, second, sentence))
        return found

    def _ancestors(self, start: Node) -> dict[Node, str]:
        """Every class that this one is a subclass of, itself included, with the way there."""
        reached = {start: ""}
        frontier = [(start, ())]  # type: list[tuple[Node, tuple[str, ...]]]
        while frontier:
            node, steps = frontier.pop(0)
            for parent in sorted(self.parents[node], key=lambda n: n.value):
                if parent not in reached:
                    way = steps
                    if isinstance(node, NamedNode) and isinstance(parent, NamedNode):
                        way = (*steps, f"{compact(node.value)} is a {compact(parent.value)}")
                    reached[parent] = ", ".join(way)
                    frontier.append((parent, way))
        return reached

    def _stated_types(self) -> dict[Node, dict[Node, str]]:
        types: dict[Node, dict[Node, str]] = defaultdict(dict)
        for triple in self.triples:
            s, p, o = triple.subject, triple.predicate.value, triple.object
            if isinstance(s, Triple):
                continue
            if p == Rdf.type:
                if isinstance(o, NamedNode | BlankNode):
                    types[s].setdefault(o, "stated")
                continue
            for name, inverted in self._implied(p):
                subject, object_ = (o, s) if inverted else (s, o)
                if not isinstance(subject, Literal | Triple):
                    for domain in self.objects[NamedNode(name), Rdfs.domain]:
                        types[subject].setdefault(domain, f"the domain of {compact(name)}")
                if not isinstance(object_, Literal | Triple):
                    for range_ in self.objects[NamedNode(name), Rdfs.range]:
                        types[object_].setdefault(range_, f"the range of {compact(name)}")
        return types

    def _implied(self, name: str) -> set[tuple[str, bool]]:
        """The properties that hold wherever this one does, and whether the other way round."""
        reached = {(name, False)}
        frontier = [(name, False)]
        while frontier:
            current, inverted = frontier.pop()
            following = [(parent, inverted) for parent in self.parent_properties.get(current, ())]
            following += [(other, not inverted) for other in self.inverses.get(current, ())]
            for item in following:
                if item not in reached:
                    reached.add(item)
                    frontier.append(item)
        return reached

    def _disjoint_pairs(self) -> set[frozenset[Node]]:
        pairs: set[frozenset[Node]] = set()
        for (subject, predicate), objects in list(self.objects.items()):
            if predicate == Owl.disjointWith:
                pairs |= {frozenset((subject, other)) for other in objects}
            elif predicate in (Owl.members, Owl.disjointUnionOf):
                for head in objects:
                    pairs |= {frozenset(pair) for pair in combinations(self._list(head), 2)}
        # An anonymous class can't be named in a message; one disjoint with itself is only empty.
        return {p for p in pairs if len(p) == 2 and all(isinstance(n, NamedNode) for n in p)}

    def _list(self, head: Node) -> list[Node]:
        members: list[Node] = []
        seen = set()
        while head.value != Rdf.nil and head not in seen:
            seen.add(head)
            members += self.objects.get((head, Rdf.first), [])
            head = next(iter(self.objects.get((head, Rdf.rest), [])), NamedNode(Rdf.nil))
        return members
