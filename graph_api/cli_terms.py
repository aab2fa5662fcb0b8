"""Reads an RDF term the way a person types it.

Invariant: what comes out is one N-Triples term. Accepted: ``<iri>`` and a bare absolute IRI, names
with a common prefix, ``a``, and every literal that Turtle writes in one term.
Turtle: https://www.w3.org/TR/turtle/#literals
"""

from __future__ import annotations

import re

import typer

from ontology.vocab import PREFIXES

_ABSOLUTE = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):[^\s<>\"{}|\\^`]+")


def term(text: str, place: str) -> str:
    """The N-Triples form of a term typed for ``place`` (subject, predicate, object or graph).

    Raises ``typer.BadParameter`` with the ways to write it.
    """
    from pyoxigraph import BlankNode, Literal, NamedNode, RdfFormat, parse

    typed = text.strip()
    if typed == "a" and place == "predicate":
        typed = "rdf:type"
    bare = _ABSOLUTE.fullmatch(typed)
    if bare is not None and bare["scheme"] not in PREFIXES:
        typed = f"<{typed}>"
    prologue = "".join(f"PREFIX {name}: <{iri}>\n" for name, iri in PREFIXES.items())
    try:
        found = [
            quad.object for quad in parse(f"{prologue}<x:s> <x:p> {typed} .", RdfFormat.TURTLE)
        ]
    except (SyntaxError, ValueError) as error:
        raise typer.BadParameter(
            f"{text!r} is no RDF term. Write an IRI (<http://...>), a prefixed name (fo:Service), "
            "or a literal with its quotes ('\"web\"', '\"web\"@en', 42, true)"
        ) from error
    if len(found) != 1 or isinstance(found[0], BlankNode):
        raise typer.BadParameter(f"{text!r} is not one IRI or literal; blank nodes have no name")
    value = found[0]
    if not isinstance(value, NamedNode | Literal):
        raise typer.BadParameter(f"{text!r} is a triple term, which the graph does not hold")
    if isinstance(value, Literal) and place != "object":
        raise typer.BadParameter(f"the {place} must be an IRI, not the literal {text!r}")
    return str(value)
