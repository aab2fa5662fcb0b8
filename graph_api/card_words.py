"""A change in words, for somebody who decides on it.

Invariant: every quad of the change is one sentence or is counted as left out; names come from the
change or from graphs that the reader may read, and are quoted harmlessly. Of two names that a
thing has, the graph's own is told: a proposal can't rename what it talks about.
"""

from __future__ import annotations

from collections.abc import Collection

from pyoxigraph import BlankNode, Literal, NamedNode, Quad, Triple

from graph_api.harmless import harmless
from ontology.store import GraphStore
from ontology.terms import Delta
from ontology.vocab import Rdf, Rdfs

Term = NamedNode | BlankNode | Literal | Triple
_TYPE = NamedNode(Rdf.type)
_LABEL = NamedNode(Rdfs.label)


class Words:
    """Puts quads into sentences. ``hidden`` are the graphs that the reader may not read."""

    def __init__(self, store: GraphStore, delta: Delta, hidden: Collection[str]) -> None:
        self._store = store
        self._hidden = hidden
        self._proposed: dict[str, str] = {}
        self._names: dict[str, str] = {}
        for quad in sorted(delta.additions, key=str, reverse=True):
            if quad.predicate == _LABEL and isinstance(quad.object, Literal):
                self._proposed[_iri(quad.subject)] = quad.object.value

    def sentence(self, quad: Quad) -> str:
        """What the quad says: ``"cart" is a Service``."""
        subject = self.name(quad.subject)
        if quad.predicate == _TYPE:
            return f"{subject} is a {self.noun(quad.object)}"
        if quad.predicate == _LABEL:
            return f"{_address(_iri(quad.subject))} is called {self.name(quad.object)}"
        return f"{subject}: {self.noun(quad.predicate)} {self.name(quad.object)}"

    def name(self, term: Term) -> str:
        """The label of a thing or the text of a literal, in quotes."""
        if isinstance(term, Literal):
            return f'"{harmless(term.value)}"'
        return f'"{self._label(_iri(term))}"'

    def noun(self, term: Term) -> str:
        """The label of a term of the vocabulary, as the graph has it or else as its IRI ends."""
        return self._label(_iri(term))

    def _label(self, iri: str) -> str:
        found = self._names.get(iri)
        if found is None:
            stated = sorted(
                quad.object.value
                for quad in self._store.unrestricted(self._hidden, NamedNode(iri), _LABEL)
                if isinstance(quad.object, Literal)
            )
            found = harmless(stated[0] if stated else self._proposed.get(iri) or _last(iri))
            self._names[iri] = found
        return found


def _iri(term: object) -> str:
    return term.value if isinstance(term, NamedNode) else str(term)


def _last(iri: str) -> str:
    return iri.rstrip("/#").rpartition("#")[2].rpartition("/")[2] or iri


def _address(iri: str) -> str:
    return harmless(iri.partition("/id/")[2] or iri)
