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

# What the productions leave out above ASCII. Classes are written as "none of these" because the
# compiler of regular expressions walks through every character of a class, and these are fewer.
_NO_NAME = (
    "\u0080-\u00b6\u00b8-\u00bf\u00d7\u00f7\u037e\u2000-\u200b\u200e-\u203e\u2041-\u206f"
    "\u2190-\u2bff\u2ff0-\u3000\ud800-\uf8ff\ufdd0-\ufdef\ufffe\uffff\U000f0000-\U0010ffff"
)
_NO_BASE = _NO_NAME + "\u00b7\u0300-\u036f\u203f\u2040"


def _characters(ascii_characters: str, left_out: str) -> str:
    """A class of these ASCII characters and of everything above ASCII that isn't left out."""
    others = {chr(code) for code in range(128)} - set(ascii_characters)
    return "[^" + "".join(f"\\x{ord(other):02x}" for other in sorted(others)) + left_out + "]"


_DIGITS = "0123456789"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BASE = _characters(_LETTERS, _NO_BASE)  # PN_CHARS_BASE
_FIRST = _characters(_LETTERS + _DIGITS + "_", _NO_BASE)  # PN_CHARS_U | [0-9]
_LOCAL_FIRST = _characters(_LETTERS + _DIGITS + "_:", _NO_BASE)
VARNAME = _characters(_LETTERS + _DIGITS + "_", _NO_NAME)
_NAME = _characters(_LETTERS + _DIGITS + "_-", _NO_NAME)  # PN_CHARS
_LOCAL = _characters(_LETTERS + _DIGITS + "_-:", _NO_NAME)
_UCHAR = r"\\u[0-9A-Fa-f]{4}|\\U[0-9A-Fa-f]{8}"
_ESCAPE = rf"\\[tbnrf\\\"']|{_UCHAR}"
PLX = r"%[0-9A-Fa-f]{2}|\\[_~.\-!$&'()*+,;=/?#@%]"
SPACE = r"(?:[ \t\r\n]++|\#[^\r\n]*+)"
IRIREF = rf"<(?:[^\x00-\x20<>\"{{}}|^`\\]|{_UCHAR})*+>"
PNAME_NS = rf"(?:{_BASE}(?:\.*+{_NAME})*+)?:"
LOCAL = rf"(?:(?:{_LOCAL_FIRST}|{PLX})(?:\.*+(?:{_LOCAL}|{PLX}))*+)"
STRING = rf"'(?:[^'\\\r\n]|{_ESCAPE})*+'|\"(?:[^\"\\\r\n]|{_ESCAPE})*+\""

# The order carries the grammar's longest-match rule; the possessive quantifiers keep it linear.
_TOKEN = re.compile(
    rf"""(?P<SPACE>{SPACE}+)
    |(?P<IRIREF>{IRIREF})
    |(?P<STRING>'''(?:'{{0,2}}(?:[^'\\]|{_ESCAPE}))*+'''
        |\"\"\"(?:\"{{0,2}}(?:[^\"\\]|{_ESCAPE}))*+\"\"\"
        |(?!'''|\"\"\")(?:{STRING}))
    |(?P<BLANK_NODE_LABEL>_:{_FIRST}(?:\.*+{_NAME})*+)
    |(?P<PNAME>{PNAME_NS}{LOCAL}?+)
    |(?P<WORD>[A-Za-z][A-Za-z0-9_]*+)
    |(?P<VAR>[?$]{_FIRST}{VARNAME}*+)
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
