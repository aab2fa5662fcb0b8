"""Refuses queries that would have another endpoint asked.

Invariant: no reading of a text that passes holds a ``SERVICE`` clause, while the word may stand
anywhere it means something else. The engine's parser has no separate lexer: it takes ``SERVICE``
off the front of a longer name, ends a local name at its second dot, falls back to ``p:`` where
``p:SERVICE`` makes no valid IRI, and reads ``<`` as an operator where the grammar's longest match
is an IRI. So the clause is first looked for in the raw characters, where no reading can hide it;
the tokens then only clear the finds inside strings, comments, IRIs and names that can't be cut up.
Specification: https://www.w3.org/TR/sparql11-federated-query/#rServiceGraphPattern
"""

from __future__ import annotations

import re
from bisect import bisect_left

from ontology.errors import ServiceRefused
from ontology.sparql_lexer import LOCAL, PNAME_NS, VARNAME, position, scan

_SERVICE = re.compile("service", re.IGNORECASE | re.ASCII)
_NAME = re.compile(rf"[?$]{VARNAME}++|<[^<>]*+>|{PNAME_NS}{LOCAL}?+")
# A run this long is taken for a name without reading it: else "serviceservice..." costs its square.
_LONG = re.compile(r"[^\s{<>#\"]{256}")
_BLANK = re.compile(r"[ \t\r\n]*+")
# A prefix that a letter makes invalid, such as <http://a:80>; or one that hides behind an escape.
_OPEN_AUTHORITY = re.compile(r"//[^/?#]*>|\\")
_MISLEADING = re.compile("['#)]")


def refuse_service(text: str) -> None:
    """Raises :class:`ontology.errors.ServiceRefused` where a SERVICE clause can be read."""
    suspects = _Clauses(text).starts()
    if not suspects:
        return
    operand = graph = uncertain = severable = False
    parentheses = [0]
    found: int | None = None
    for kind, start, end in scan(text):
        token = text[start:end]
        if kind in ("WORD", "PNAME"):
            # Before the first brace, and after GRAPH, a prefixed name is a name in every reading.
            named = kind == "PNAME" and (len(parentheses) == 1 or graph)
            index = bisect_left(suspects, start)
            while found is None and not named and index < len(suspects) and suspects[index] < end:
                at = suspects[index]
                if kind == "WORD" or severable or _can_be_cut(token, at - start):
                    found = at
                index += 1
        elif kind == "IRIREF":
            severable |= len(parentheses) == 1 and _OPEN_AUTHORITY.search(token) is not None
            # Read as an operator, this "<" would leave the reader inside a string or a comment.
            uncertain |= bool(operand and parentheses[-1] and _MISLEADING.search(token))
        elif token == "(":
            parentheses[-1] += 1
        elif token == ")":
            parentheses[-1] -= 1
        elif token == "{":
            parentheses.append(0)
        elif token == "}" and len(parentheses) > 1:
            parentheses.pop()
        operand = kind != "PUNCTUATION" or token == ")"
        graph = kind == "WORD" and token.upper() == "GRAPH"
    if uncertain:
        found = suspects[0]
    if found is not None:
        raise ServiceRefused(*position(text, found))


def _can_be_cut(name: str, offset: int) -> bool:
    """True when the engine may end a name right before ``offset``: in its prefix, or at its second
    dot."""
    prefix, _, local = name.partition(":")
    if offset < len(prefix):
        return True
    before = local[: offset - len(prefix) - 1]
    return before.endswith(".") and "." in before.rstrip(".")


class _Clauses:
    """The places where the characters may spell a clause: the word, a name, an opening brace."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._line_ends = [match.start() for match in re.finditer(r"[\r\n]", text)]
        self._line_ends.append(len(text))
        # Where the run of comments ends that a line end belongs to.
        self._runs: dict[int, int] = {}

    def starts(self) -> list[int]:
        return [
            match.start() for match in _SERVICE.finditer(self._text) if self._follows(match.end())
        ]

    def _follows(self, offset: int) -> bool:
        text = self._text
        offset = self._skip(offset)
        starts = [offset]
        if text[offset : offset + 6].lower() == "silent":
            starts.append(self._skip(offset + 6))
        for start in starts:
            if _LONG.match(text, start):
                return True
            name = _NAME.match(text, start)
            if name is not None and text.startswith("{", self._skip(name.end())):
                return True
        return False

    def _skip(self, offset: int) -> int:
        """The offset after white space and comments."""
        passed: list[int] = []
        while True:
            blank = _BLANK.match(self._text, offset)
            offset = blank.end() if blank else offset
            if not self._text.startswith("#", offset):
                break
            offset = self._line_ends[bisect_left(self._line_ends, offset)]
            if offset in self._runs:
                offset = self._runs[offset]
                break
            passed.append(offset)
        self._runs.update(dict.fromkeys(passed, offset))
        return offset
