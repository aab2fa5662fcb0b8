"""The constraints that look at a value and at nothing else.

Invariant: each test is a pure function of one term. Each is made from the parameter of its
component and says in words what it asks.
Specification: https://www.w3.org/TR/shacl/#core-components-value-type
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import lru_cache

from pyoxigraph import BlankNode, Literal, NamedNode

from ontology.errors import IllTypedLiteral, UnsupportedTerm
from ontology.literals import canonical_literal
from ontology.vocab import Sh
from shapes.comparison import at_most, less
from shapes.pattern import matcher
from shapes.view import Node

Test = Callable[[Node], bool]

NODE_KINDS: dict[str, tuple[type, ...]] = {
    Sh.IRI: (NamedNode,),
    Sh.BlankNode: (BlankNode,),
    Sh.Literal: (Literal,),
    Sh.BlankNodeOrIRI: (BlankNode, NamedNode),
    Sh.BlankNodeOrLiteral: (BlankNode, Literal),
    Sh.IRIOrLiteral: (NamedNode, Literal),
}


@lru_cache(maxsize=65536)
def well_typed(literal: Literal) -> bool:
    """Whether the lexical form is one that the datatype has."""
    try:
        canonical_literal(literal)
    except IllTypedLiteral:
        return False
    except UnsupportedTerm:
        return True
    return True


def of_datatype(datatype: NamedNode) -> Test:
    return lambda node: isinstance(node, Literal) and node.datatype == datatype and well_typed(node)


def of_kind(kind: str) -> Test:
    kinds = NODE_KINDS[kind]
    return lambda node: isinstance(node, kinds)


def more_than(bound: Node) -> Test:
    return lambda node: less(bound, node)


def no_less_than(bound: Node) -> Test:
    return lambda node: at_most(bound, node)


def less_than(bound: Node) -> Test:
    return lambda node: less(node, bound)


def no_more_than(bound: Node) -> Test:
    return lambda node: at_most(node, bound)


def no_shorter_than(length: int) -> Test:
    return lambda node: not isinstance(node, BlankNode) and len(node.value) >= length


def no_longer_than(length: int) -> Test:
    return lambda node: not isinstance(node, BlankNode) and len(node.value) <= length


def matching(pattern: str, flags: str) -> Test:
    """Raises :class:`ValueError` for an expression that cannot be used."""
    found = matcher(pattern, flags)
    return lambda node: not isinstance(node, BlankNode) and found(node.value)


def in_a_language_of(ranges: Collection[str]) -> Test:
    """Basic filtering of RFC 4647, as SPARQL's ``langMatches``."""
    wanted = [item.lower() for item in ranges]

    def holds(node: Node) -> bool:
        if not isinstance(node, Literal) or not node.language:
            return False
        language = node.language.lower()
        return any(
            item == "*" or language == item or language.startswith(item + "-") for item in wanted
        )

    return holds


def one_of(members: Collection[Node]) -> Test:
    wanted = frozenset(members)
    return lambda node: node in wanted
