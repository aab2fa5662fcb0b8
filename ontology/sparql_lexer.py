"""The terminals of SPARQL.

Invariant: a text is cut exactly as the grammar's productions and its longest-match rule say, so a
word inside a string, an IRI, a comment, a variable or a prefixed name is never a keyword; and in
time that grows with the length of the text alone, whatever the text.
Specifications: https://www.w3.org/TR/sparql11-query/#sparqlGrammar and
https://www.w3.org/TR/sparql12-query/#sparqlGrammar
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from ontology.errors import SparqlSyntaxError

_BASE = (
    "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02ff\u0370-\u037d\u037f-\u1fff\u200c\u200d"
    "\u2070-\u218f\u2c00-\u2fef\u3001-\ud7ff\uf900-\ufdcf\ufdf0-\ufffd\U00010000-\U000effff"
)
NAME = _BASE + "_0-9\u00b7\u0300-\u036f\u203f\u2040"
_UCHAR = r"\\u[0-9A-Fa-f]{4}|\\U[0-9A-Fa-f]{8}"
_ESCAPE = rf"\\[tbnrf\\\"']|{_UCHAR}"
PLX = r"%[0-9A-Fa-f]{2}|\\[_~.\-!$&'()*+,;=/?#@%]"
SPACE = r"(?:[ \t\r\n]++|\#[^\r\n]*+)"
IRIREF = rf"<(?:[^\x00-\x20<>\"{{}}|^`\\]|{_UCHAR})*+>"
PNAME_NS = rf"(?:[{_BASE}](?:\.*+[{NAME}\-])*+)?:"
STRING = rf"'(?:[^'\\\r\n]|{_ESCAPE})*+'|\"(?:[^\"\\\r\n]|{_ESCAPE})*+\""

# The order carries the grammar's longest-match rule; the possessive quantifiers keep it linear.
_TOKEN = re.compile(
    rf"""(?P<SPACE>{SPACE}+)
    |(?P<IRIREF>{IRIREF})
    |(?P<STRING>'''(?:'{{0,2}}(?:[^'\\]|{_ESCAPE}))*+'''
        |\"\"\"(?:\"{{0,2}}(?:[^\"\\]|{_ESCAPE}))*+\"\"\"
        |(?!'''|\"\"\")(?:{STRING}))
    |(?P<BLANK_NODE_LABEL>_:[{_BASE}_0-9](?:\.*+[{NAME}\-])*+)
    |(?P<PNAME>{PNAME_NS}(?:(?:[{_BASE}_:0-9]|{PLX})(?:\.*+(?:[{NAME}:\-]|{PLX}))*+)?+)
    |(?P<WORD>[A-Za-z][A-Za-z0-9_]*+)
    |(?P<VAR>[?$][{_BASE}_0-9][{NAME}]*+)
    |(?P<LANG_DIR>@[A-Za-z]++(?:-[A-Za-z0-9]++)*+(?:--[A-Za-z]++)?+)
    |(?P<DOUBLE>[+\-]?(?:[0-9]+\.[0-9]*|\.?[0-9]+)[eE][+\-]?[0-9]+)
    |(?P<DECIMAL>[+\-]?[0-9]*\.[0-9]+)
    |(?P<INTEGER>[+\-]?[0-9]+)
    |(?P<PUNCTUATION><<\(|\)>>|<<|>>|\{{\||\|\}}|\^\^|\|\||&&|!=|<=|>=|[{{}}()\[\].,;*/|^?+\-=<>!~])
    """,
    re.VERBOSE,
)


class Token(NamedTuple):
    """One terminal; ``line`` and ``column`` count from 1, in characters."""

    kind: str
    text: str
    line: int
    column: int


def tokens(text: str) -> list[Token]:
    """The terminals of a SPARQL text, without white space and comments.

    Raises :class:`ontology.errors.SparqlSyntaxError` at the first character that starts none.
    """
    found: list[Token] = []
    line, line_start, seen = 1, 0, 0
    for kind, start, end in scan(text):
        breaks = text.count("\n", seen, start)
        if breaks:
            line += breaks
            line_start = text.rindex("\n", seen, start) + 1
        seen = start
        found.append(Token(kind, text[start:end], line, start - line_start + 1))
    return found


def scan(text: str, offset: int = 0) -> Iterator[tuple[str, int, int]]:
    """Kind, start and end of every terminal from ``offset`` on."""
    match_at = _TOKEN.match
    length = len(text)
    while offset < length:
        match = match_at(text, offset)
        if match is None:
            line, column = position(text, offset)
            raise SparqlSyntaxError(line, column, _why_no_terminal(text, offset))
        end = match.end()
        kind = match.lastgroup
        if kind is not None and kind != "SPACE":
            yield kind, offset, end
        offset = end


def _why_no_terminal(text: str, offset: int) -> str:
    if text[offset] in "'\"":
        return "this string is never closed, or holds an escape that SPARQL does not have"
    if text[offset] == "\\":
        return "escapes such as \\u0041 are taken inside strings and IRIs only"
    return f"{text[offset]!r} starts nothing that SPARQL knows"


def position(text: str, offset: int) -> tuple[int, int]:
    """Line and column of an offset, both from 1."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
