"""Reads an RDF term the way a person types it, and writes it the way a person reads it.

Invariant: what comes out of :func:`term` is one N-Triples term. Accepted: ``<iri>`` and a bare
absolute IRI, names with a common prefix, ``a``, and every literal that Turtle writes in one term.
Turtle: https://www.w3.org/TR/turtle/#literals
"""

from __future__ import annotations

import re

import typer

from ontology.vocab import PREFIXES

_LOCAL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_PRINCIPAL = "/id/principal/"
_ABSOLUTE = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):[^\s<>\"{}|\\^`]+")


def short_iri(iri: str) -> str:
    """The IRI as a prefixed name where a common prefix fits, in angle brackets otherwise."""
    for name, namespace in PREFIXES.items():
        local = iri.removeprefix(namespace)
        if local != iri and _LOCAL_NAME.fullmatch(local):
            return f"{name}:{local}"
    return f"<{iri}>"


def short_term(text: str) -> str:
    """An N-Triples term with its IRI shortened; anything else as it is."""
    return short_iri(text[1:-1]) if re.fullmatch(r"<[^<>]*>", text) else text


def short_principal(iri: str) -> str:
    """A principal's name where the IRI has the usual form."""
    return iri.rpartition(_PRINCIPAL)[2] if _PRINCIPAL in iri else iri


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
