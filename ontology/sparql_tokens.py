"""Tells what a SPARQL text asks for before any engine runs it.

Invariant: what :func:`query_head` lets through is a read-only query that names no ``SERVICE``, in
any reading of its characters. Whether the rest of it is well-formed is for the engine's own parser
to say; ``docs/decisions/sparql-gate.md`` has the reasons.
Specification: https://www.w3.org/TR/sparql11-query/#sparqlGrammar
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ontology.errors import SparqlSyntaxError, UpdateRefused
from ontology.sparql_data import DataBlock, data_blocks
from ontology.sparql_lexer import (
    IRIREF,
    PNAME_NS,
    SPACE,
    STRING,
    Token,
    position,
    scan,
    tokens,
)
from ontology.sparql_service import refuse_service

__all__ = [
    "DataBlock",
    "QueryForm",
    "QueryHead",
    "Token",
    "data_blocks",
    "lower_case_booleans",
    "query_form",
    "query_head",
    "tokens",
]

QueryForm = Literal["SELECT", "ASK", "CONSTRUCT", "DESCRIBE"]

_HEAD = re.compile(
    rf"""{SPACE}*+
    (?:(?:(?i:BASE){SPACE}*+{IRIREF}
        |(?i:PREFIX){SPACE}*+{PNAME_NS}{SPACE}*+{IRIREF}
        |(?i:VERSION){SPACE}*+(?:{STRING})){SPACE}*+)*+
    (?P<form>[A-Za-z]++)""",
    re.VERBOSE,
)
_FORMS: dict[str, QueryForm] = {
    "SELECT": "SELECT",
    "ASK": "ASK",
    "CONSTRUCT": "CONSTRUCT",
    "DESCRIBE": "DESCRIBE",
}
_UPDATES = frozenset(
    {"INSERT", "DELETE", "WITH", "LOAD", "CLEAR", "DROP", "CREATE", "ADD", "MOVE", "COPY"}
)


@dataclass(frozen=True, slots=True)
class QueryHead:
    """What a query says before its pattern: its form, and the graphs its FROM clauses name.

    The graphs are the terms as written; ``prologue`` is the text that gives them their meaning.
    """

    form: QueryForm
    prologue: str = ""
    default_graphs: tuple[str, ...] = ()
    named_graphs: tuple[str, ...] = ()

    @property
    def has_dataset(self) -> bool:
        """True when the query chose its own dataset."""
        return bool(self.default_graphs or self.named_graphs)


def query_form(text: str) -> QueryForm:
    """The form of a read-only query; see :func:`query_head` for what is refused."""
    return query_head(text).form


def query_head(text: str) -> QueryHead:
    """The form and the dataset clauses of a read-only query.

    Raises :class:`ontology.errors.UpdateRefused`, :class:`ontology.errors.ServiceRefused` and
    :class:`ontology.errors.SparqlSyntaxError`.
    """
    match = _HEAD.match(text)
    if match is None:
        raise _not_a_query(text)
    word = match["form"].upper()
    form = _FORMS.get(word)
    if form is None:
        if word in _UPDATES:
            raise UpdateRefused(*position(text, match.start("form")), word)
        raise _not_a_query(text, match.start("form"))
    lowered = text.lower()
    # After a slash it is part of an IRI, as in those of our services: no clause begins there.
    if lowered.count("service") != lowered.count("/service"):
        refuse_service(text)
    if "from" not in lowered:
        return QueryHead(form)
    return _with_dataset(text, form, match.start("form"))


def lower_case_booleans(text: str) -> str:
    """The text with ``TRUE`` and ``False`` as ``true`` and ``false``, where they are keywords.

    Nothing else changes, nor does any place. A text that can't be cut comes back as it is.
    """
    pieces: list[str] = []
    copied = 0
    try:
        for kind, start, end in scan(text):
            if kind == "WORD" and text[start:end].lower() in ("true", "false"):
                pieces += (text[copied:start], text[start:end].lower())
                copied = end
    except SparqlSyntaxError:
        return text
    return "".join((*pieces, text[copied:]))


def _not_a_query(text: str, offset: int | None = None) -> SparqlSyntaxError:
    if offset is None:
        # The scanner names the first character that is no terminal, if there is one.
        offset = next((start for _, start, _ in scan(text)), len(text))
    line, column = position(text, offset)
    return SparqlSyntaxError(
        line, column, "a query is a prologue and then SELECT, ASK, CONSTRUCT or DESCRIBE"
    )


def _with_dataset(text: str, form: QueryForm, start: int) -> QueryHead:
    """Reads the FROM clauses; they stand before the pattern and outside of brackets."""
    default: list[str] = []
    named: list[str] = []
    previous = before = ""
    depth = 0
    for kind, begin, end in scan(text, start):
        token = text[begin:end]
        if kind in ("IRIREF", "PNAME") and depth == 0:
            if previous == "FROM":
                default.append(token)
            elif previous == "NAMED" and before == "FROM":
                named.append(token)
        elif token in ("{", "("):
            if token == "{" and depth == 0 and previous != "CONSTRUCT":
                break
            depth += 1
        elif token in ("}", ")"):
            depth -= 1
        before, previous = previous, token.upper() if kind == "WORD" else token
    return QueryHead(form, text[:start], tuple(default), tuple(named))
