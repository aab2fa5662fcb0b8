"""The terms of the ontology that come closest to a text.

Invariant: the same words and terms give the same answer: words are compared as they are written,
without case and a plural's last letter, by the Dice coefficient of their sets; equals go by IRI.
Source: https://doi.org/10.2307/1932409
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pyoxigraph import Literal, NamedNode

from ontology.vocab import Rdf, Rdfs, Skos
from stewards.gate_client import Solution

CLOSEST = 3
MAX_TERMS = 5_000
_LABEL_WEIGHT = 0.7
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_WORD = re.compile(r"[^\W_]+")
_COMMON = frozenset(
    {
        *("a", "an", "and", "as", "at", "by", "for", "from", "in", "is", "it", "of", "on", "or"),
        *("that", "the", "to", "what", "which"),
    }
)


@dataclass(frozen=True)
class Term:
    """A class of the ontology."""

    iri: str
    label: str
    definition: str = ""


def question(graph: str) -> str:
    """SPARQL for the classes of this named graph that have a name."""
    return (
        f"SELECT ?term (MIN(?l) AS ?label) (MIN(?d) AS ?definition) WHERE {{ GRAPH <{graph}>"
        f" {{ ?term <{Rdf.type}> <http://www.w3.org/2002/07/owl#Class> ; <{Rdfs.label}> ?l ."
        f" OPTIONAL {{ ?term <{Skos.definition}> ?d }} }} FILTER(isIRI(?term)) }}"
        f" GROUP BY ?term ORDER BY ?term LIMIT {MAX_TERMS:d}"
    )


def read(solutions: Iterable[Solution]) -> tuple[Term, ...]:
    """The terms in an answer to :func:`question`."""
    return tuple(
        Term(term.value, _value(found.get("label")), _value(found.get("definition")))
        for found in solutions
        if isinstance(term := found.get("term"), NamedNode)
    )


def _value(term: object) -> str:
    return term.value if isinstance(term, Literal) else ""


def words(*texts: str) -> frozenset[str]:
    """The words of some texts, ``camelCase`` and ``snake_case`` taken apart."""
    found = (word.lower() for text in texts for word in _WORD.findall(_HUMP.sub(" ", text)))
    return frozenset(
        word[:-1] if len(word) > 3 and word.endswith("s") else word
        for word in found
        if word not in _COMMON
    )


def closest(
    name: str, about: Iterable[str], terms: Iterable[Term]
) -> tuple[tuple[Term, float], ...]:
    """The terms most like a name and what else is known of it, with their likeness in (0, 1]."""
    named, known = words(name), words(name, *about)
    scored = []
    for term in terms:
        likeness = _LABEL_WEIGHT * _dice(named, words(term.label)) + (1 - _LABEL_WEIGHT) * _dice(
            known, words(term.label, term.definition)
        )
        if likeness > 0:
            scored.append((term, round(likeness, 3)))
    return tuple(sorted(scored, key=lambda item: (-item[1], item[0].iri))[:CLOSEST])


def _dice(left: frozenset[str], right: frozenset[str]) -> float:
    return 2 * len(left & right) / (len(left) + len(right)) if left and right else 0.0
