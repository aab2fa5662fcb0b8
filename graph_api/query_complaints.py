"""Says what is wrong with a query that does not parse, so that its author can mend it.

Invariant: the place is given as line and column from 1. The engine's own words are its grammar's
alternatives; where the cause is one of the usual ones, that is named instead.
Specification: https://www.w3.org/TR/sparql11-query/#sparqlGrammar
"""

from __future__ import annotations

import re
from typing import Any

from ontology.errors import SparqlSyntaxError
from ontology.sparql_tokens import Token, tokens
from ontology.vocab import PREFIXES

_PLACE = re.compile(r"error at (\d+):(\d+)")
_CLASSES = re.compile(r"\[(?:'|_\])[^\]]*\]?")


def complaint(text: str, engine_says: str) -> dict[str, Any]:
    """``message``, ``line`` and ``column`` for a query the engine did not parse."""
    try:
        usual = _usual_cause(tokens(text))
    except SparqlSyntaxError as error:
        return {"message": error.message, "line": error.line, "column": error.column}
    if usual is not None:
        message, token = usual
        return {"message": message, "line": token.line, "column": token.column}
    found = _PLACE.search(engine_says)
    line, column = (int(found[1]), int(found[2])) if found else (None, None)
    said = _PLACE.sub("", engine_says).lstrip(": ")
    return {"message": _readable(said), "line": line, "column": column}


def _usual_cause(found: list[Token]) -> tuple[str, Token] | None:
    """A prefix that nobody declared."""
    declared: set[str] = set()
    before = ""
    for token in found:
        if token.kind == "PNAME":
            prefix = token.text.partition(":")[0]
            if before == "PREFIX":
                declared.add(prefix)
            elif prefix not in declared:
                known = PREFIXES.get(prefix)
                declaration = f"PREFIX {prefix}: <{known or '...'}>"
                return f"{prefix}: is not declared; begin with {declaration}", token
        before = token.text.upper() if token.kind == "WORD" else before * (token.kind == "PNAME")
    return None


def _readable(said: str) -> str:
    """The engine's words without the character classes of its grammar."""
    before, expected, choices = said.partition("expected one of ")
    if not expected:
        return "this is not expected here" if _CLASSES.search(said) else said
    kept = [choice.strip() for choice in _CLASSES.sub("", choices).split(", ") if choice.strip()]
    for choice in kept:
        if " " in choice:
            return choice
    return before + expected + ", ".join(kept)
