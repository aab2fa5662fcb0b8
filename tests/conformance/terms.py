"""Compares graphs and tables of RDF terms, blind to the labels of blank nodes and to nothing else.

Invariant: two graphs are alike exactly when one is the other with its blank nodes relabelled, and
so are two tables; a literal is alike another one only when lexical form, datatype and language tag
are the same. ``stored`` is the one place that knows another form: what the store gives back.
Specifications: https://www.w3.org/TR/rdf11-concepts/#graph-isomorphism and
https://www.w3.org/TR/sparql11-query/#sparqlSolMod
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from pyoxigraph import (
    BlankNode,
    CanonicalizationAlgorithm,
    Dataset,
    Literal,
    NamedNode,
    Quad,
    Store,
    Triple,
)

Term = NamedNode | BlankNode | Literal | Triple
Row = Mapping[str, Term]

_SOMETHING = NamedNode("urn:x:something")


def same_graph(left: Iterable[Quad | Triple], right: Iterable[Quad | Triple]) -> bool:
    """Whether two graphs are isomorphic."""
    return _canonical(left) == _canonical(right)


def _canonical(triples: Iterable[Quad | Triple]) -> set[str]:
    dataset = Dataset(Quad(triple.subject, triple.predicate, triple.object) for triple in triples)
    dataset.canonicalize(CanonicalizationAlgorithm.UNSTABLE)
    return {str(quad) for quad in dataset}


def same_rows(
    expected: Sequence[Row], found: Sequence[Row], *, ordered: bool, lax: bool = False
) -> bool:
    """Whether two tables are alike, with one relabelling of blank nodes for all rows.

    ``lax`` lets a row of ``found`` stand fewer times than expected, but once: what REDUCED allows.
    """
    if ordered:
        return len(expected) == len(found) and _matched(
            [(row, [place]) for place, row in enumerate(expected)], found, {}, {}, set()
        )
    if lax:
        if len(found) > len(expected):
            return False
        expected, found = _distinct(expected), _distinct(found)
    if len(expected) != len(found):
        return False
    # Rows that few others can stand for come first, which keeps the search short.
    candidates = [
        (row, [place for place, other in enumerate(found) if _could_match(row, other)])
        for row in expected
    ]
    candidates.sort(key=lambda pair: len(pair[1]))
    return _matched(candidates, found, {}, {}, set())


def _distinct(rows: Sequence[Row]) -> list[Row]:
    return list(
        {
            tuple(sorted((name, str(term)) for name, term in row.items())): row for row in rows
        }.values()
    )


def _could_match(left: Row, right: Row) -> bool:
    return left.keys() == right.keys() and all(
        _shape(term) == _shape(right[name]) for name, term in left.items()
    )


def _shape(term: Term) -> Term | tuple[object, ...] | None:
    if isinstance(term, BlankNode):
        return None
    if isinstance(term, Triple):
        return (_shape(term.subject), term.predicate, _shape(term.object))
    return term


def _matched(
    wanted: list[tuple[Row, list[int]]],
    found: Sequence[Row],
    there: dict[BlankNode, BlankNode],
    back: dict[BlankNode, BlankNode],
    used: set[int],
) -> bool:
    """Whether every wanted row has a row of its own, under one bijection of blank nodes."""
    if not wanted:
        return True
    (row, places), *rest = wanted
    for place in places:
        if place in used or row.keys() != found[place].keys():
            continue
        new_there, new_back = dict(there), dict(back)
        if all(
            _unified(term, found[place][name], new_there, new_back) for name, term in row.items()
        ) and _matched(rest, found, new_there, new_back, used | {place}):
            return True
    return False


def _unified(
    left: Term, right: Term, there: dict[BlankNode, BlankNode], back: dict[BlankNode, BlankNode]
) -> bool:
    if isinstance(left, BlankNode) and isinstance(right, BlankNode):
        return there.setdefault(left, right) == right and back.setdefault(right, left) == left
    if isinstance(left, Triple) and isinstance(right, Triple):
        return left.predicate == right.predicate and all(
            _unified(mine, other, there, back)
            for mine, other in ((left.subject, right.subject), (left.object, right.object))
        )
    return left == right


@lru_cache(maxsize=4096)
def stored(term: Term) -> Term:
    """The term as the store gives it back."""
    if not isinstance(term, Literal):
        return term
    store = Store()
    store.add(Quad(_SOMETHING, _SOMETHING, term))
    back: Term = next(iter(store)).object
    return back


def stored_row(row: Row) -> dict[str, Term]:
    """The row with each term as the store gives it back."""
    return {name: stored(term) for name, term in row.items()}


def stored_triple(triple: Quad | Triple) -> Triple:
    """The triple with its object as the store gives it back."""
    return Triple(triple.subject, triple.predicate, stored(triple.object))
