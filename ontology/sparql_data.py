"""Reads an update that is nothing but ground data.

Invariant: what comes out is ground quads to add or to remove, and an update that says anything
else is refused whole, with the place that says it. Nothing here runs an update: each block becomes
a TriG document, which an RDF parser reads.
Specification: https://www.w3.org/TR/sparql11-update/#insertData
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from ontology.errors import SparqlSyntaxError
from ontology.sparql_lexer import position, scan

MAX_OPERATIONS = 256
"""Alternations of INSERT DATA and DELETE DATA (or of prologues) that one update may have."""

_NOT_NEWLINE = re.compile(r"[^\n]")
_REFUSED = frozenset({"WITH", "USING", "LOAD", "CLEAR", "DROP", "CREATE", "ADD", "MOVE", "COPY"})
_ONLY_DATA = "a proposal is written as INSERT DATA { ... } and DELETE DATA { ... }, joined by ';'"


class DataBlock(NamedTuple):
    """``INSERT DATA`` or ``DELETE DATA`` as a TriG document.

    Line ``n`` of the document is line ``n + line_offset`` of the update.
    """

    kind: Literal["INSERT DATA", "DELETE DATA"]
    trig: str
    line_offset: int


def data_blocks(text: str) -> list[DataBlock]:
    """The blocks of an update that is nothing but ``INSERT DATA`` and ``DELETE DATA``.

    Neighbours of one kind under one prologue come back as one block. Raises
    :class:`ontology.errors.SparqlSyntaxError` for everything else, naming the place: pattern
    updates, graph management, ``LOAD``, variables, and blank nodes in ``DELETE DATA``.
    """
    return _DataReader(text).read()


class _DataReader:
    """One pass over an update; rewrites each block into a TriG document of equal layout."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = scan(text)
        self._prologue: list[str] = []
        self._blocks: list[DataBlock] = []
        self._labels: set[str] = set()
        # The block that is being written: its kind, its pieces, and how far the text was copied.
        self._kind: Literal["INSERT DATA", "DELETE DATA"] | None = None
        self._pieces: list[str] = []
        self._copied = 0

    def read(self) -> list[DataBlock]:
        expect_separator = False
        for kind, start, end in self._tokens:
            token = self._text[start:end]
            word = token.upper() if kind == "WORD" else ""
            if token == ";" and expect_separator:
                expect_separator = False
            elif expect_separator:
                raise self._error(start, f"expected ';' or the end, not {token!r}")
            elif word in ("BASE", "PREFIX", "VERSION"):
                self._declaration(word)
            elif word in ("INSERT", "DELETE"):
                self._operation(word, start)
                expect_separator = True
            elif word in _REFUSED:
                raise self._error(start, f"{word} is not taken: {_ONLY_DATA}")
            else:
                raise self._error(start, f"{token!r} starts no operation: {_ONLY_DATA}")
        self._finish()
        if not self._blocks:
            raise self._error(len(self._text), f"there is no operation here: {_ONLY_DATA}")
        return self._blocks

    def _declaration(self, word: str) -> None:
        self._finish()
        if word == "VERSION":
            self._expect("STRING", "a version in quotes")
            return
        parts = [word]
        if word == "PREFIX":
            name = self._expect("PNAME", "a prefix such as ex:")
            if not name.endswith(":"):
                raise self._error(self._copied, f"{name!r} is a name, not a prefix such as ex:")
            parts.append(name)
        parts.append(self._expect("IRIREF", "an IRI in angle brackets"))
        self._prologue.append(" ".join(parts))

    def _operation(self, word: str, start: int) -> None:
        kind: Literal["INSERT DATA", "DELETE DATA"] = (
            "INSERT DATA" if word == "INSERT" else "DELETE DATA"
        )
        following = next(self._tokens, None)
        if following is None or self._text[following[1] : following[2]].upper() != "DATA":
            raise self._error(start, f"{word} without DATA is not taken: {_ONLY_DATA}")
        opening = next(self._tokens, None)
        if opening is None or self._text[opening[1]] != "{":
            raise self._error(following[1], f"expected '{{' after {kind}")
        if kind != self._kind:
            self._finish()
            self._begin(kind, opening[1])
        else:
            self._blank(opening[1])
        self._block(kind, opening[1])

    def _block(self, kind: str, opening: int) -> None:
        labels: set[str] = set()
        in_graph = after_graph = False
        unfinished = None  # an opening parenthesis in DELETE DATA that only ')' may follow
        for token_kind, start, end in self._tokens:
            token = self._text[start:end]
            if unfinished is not None and token != ")":
                raise self._error(unfinished, "a list is made of blank nodes; name them instead")
            unfinished = None
            if token_kind == "VAR":
                raise self._error(start, f"{token} is a variable; {kind} takes ground quads only")
            if token_kind == "BLANK_NODE_LABEL" or token == "[":
                if kind == "DELETE DATA":
                    raise self._error(start, "a blank node can't be removed by name; use its IRI")
                if token in self._labels:
                    raise self._error(start, f"{token} was already used in another operation")
                labels.add(token)
            elif token_kind == "WORD":
                if token.upper() == "GRAPH" and not in_graph:
                    self._graph(start, end)
                    in_graph = True
                elif token != "a" and token.lower() not in ("true", "false"):
                    raise self._error(start, f"{token} has no place in {kind}")
            elif token == "(" and kind == "DELETE DATA":
                unfinished = start
            elif token == "{":
                raise self._error(start, "'{' stands only after GRAPH and a name")
            elif token == "}" and in_graph:
                self._close_graph(end)
                in_graph, after_graph = False, True
                continue
            elif token == "}":
                self._copy(end)
                self._labels |= labels - {"["}
                return
            elif token == "." and after_graph:
                self._replace(start, end, " ")
            after_graph = False
        raise self._error(opening, "this '{' is never closed")

    def _graph(self, start: int, end: int) -> None:
        # TriG wraps each graph by itself, so the default graph's block ends here.
        self._replace(start, end, "}    ")
        name = next(self._tokens, None)
        if name is None or name[0] not in ("IRIREF", "PNAME"):
            raise self._error(start, "GRAPH needs the IRI of a graph")
        opening = next(self._tokens, None)
        if opening is None or self._text[opening[1]] != "{":
            raise self._error(name[1], "expected '{' after the name of the graph")

    def _close_graph(self, end: int) -> None:
        self._copy(end)
        self._pieces.append("{")
        if self._text[end : end + 1] in (" ", "\t"):
            self._copied = end + 1

    def _begin(self, kind: Literal["INSERT DATA", "DELETE DATA"], opening: int) -> None:
        line, column = position(self._text, opening)
        self._kind = kind
        self._offset = line - 2
        self._pieces = [" ".join(self._prologue), "\n", " " * (column - 1)]
        self._copied = opening

    def _copy(self, end: int) -> None:
        self._pieces.append(self._text[self._copied : end])
        self._copied = end

    def _replace(self, start: int, end: int, replacement: str) -> None:
        self._pieces += (self._text[self._copied : start], replacement)
        self._copied = end

    def _blank(self, end: int) -> None:
        self._pieces.append(_NOT_NEWLINE.sub(" ", self._text[self._copied : end]))
        self._copied = end

    def _finish(self) -> None:
        if self._kind is None:
            return
        if len(self._blocks) == MAX_OPERATIONS:
            raise self._error(
                self._copied, f"more than {MAX_OPERATIONS} operations; put quads of a kind together"
            )
        self._blocks.append(DataBlock(self._kind, "".join(self._pieces), self._offset))
        self._kind = None

    def _expect(self, kind: str, what: str) -> str:
        found = next(self._tokens, None)
        if found is None or found[0] != kind:
            raise self._error(len(self._text) if found is None else found[1], f"expected {what}")
        self._copied = found[1]
        return self._text[found[1] : found[2]]

    def _error(self, offset: int, message: str) -> SparqlSyntaxError:
        return SparqlSyntaxError(*position(self._text, offset), message)
