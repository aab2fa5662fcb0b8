"""The rules of the rules graph as values by subject and predicate, whatever kind they are of.

Invariant: nothing is judged here; which values a rule needs is said where it is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pyoxigraph import Literal, NamedNode, Quad

from ontology.vocab import Rdf

Values = Mapping[str, list[str]]
"""The values of a rule by the IRI of their predicate."""


def described(quads: Iterable[Quad], kind: str) -> dict[str, Values]:
    """The values of every subject of a class, by its IRI."""
    found: dict[str, dict[str, list[str]]] = {}
    for quad in quads:
        if isinstance(quad.subject, NamedNode) and isinstance(quad.object, NamedNode | Literal):
            of_subject = found.setdefault(quad.subject.value, {})
            of_subject.setdefault(quad.predicate.value, []).append(quad.object.value)
    return {iri: values for iri, values in found.items() if kind in values.get(Rdf.type, ())}
