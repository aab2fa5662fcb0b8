"""The queries of shapes, and what it means that a variable is bound before they run.

Invariant: a pre-bound variable has its value wherever the query names it, in nested groups, filters
and subqueries too, since the variable is replaced by the value, terminal by terminal. What the
specification leaves without meaning is refused: ``MINUS``, ``VALUES``, ``SERVICE``, ``AS`` a
pre-bound variable, and a subquery that does not project them.
Specification: https://www.w3.org/TR/shacl/#pre-binding
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from pyoxigraph import NamedNode

from ontology.errors import SparqlError
from ontology.sparql_lexer import position, scan
from ontology.sparql_tokens import query_head
from ontology.store import open_memory
from shapes.paths import Path, Predicate
from shapes.view import Node

ALWAYS_BOUND = frozenset({"this", "shapesGraph", "currentShape"})
_OPTIONAL = frozenset({"shapesGraph", "currentShape"})
PATH = "PATH"

MAX_TEXT = 50_000
"""Characters of one query."""
MAX_TERMINALS = 1_000
"""Terminals of one query: the engine's parser goes as deep as a query is long."""
MAX_DEPTH = 100
"""Brackets of one query inside each other."""

_SAMPLE = NamedNode("urn:x-fractalops:sample")
_TERM_KINDS = frozenset({"VAR", "IRIREF", "PNAME", "BLANK_NODE_LABEL", "STRING"})
_OBJECT_STARTS = _TERM_KINDS | {"INTEGER", "DECIMAL", "DOUBLE"}
_ENDS_GROUP_BY = frozenset({"HAVING", "ORDER", "LIMIT", "OFFSET", "VALUES"})
# An IRI right after an operand may be a "less than" to the engine, which then reads on inside.
_LONGEST_REASON = 120
_MISLEADING = re.compile("['\"#)?$]")
_ENGINE_POSITION = re.compile(r"error at (\d+):(\d+): (.*)", re.DOTALL)


class Terminal(NamedTuple):
    """One terminal of a query, and where it is in the text."""

    kind: str
    text: str
    start: int
    end: int


class BadQuery(Exception):
    """A query that a shape can't have; the message goes on from the name of its owner."""


class _Place(Enum):
    """Where a variable stands, which decides what may take its place."""

    TERM = auto()
    PROJECTED = auto()
    SUBQUERY = auto()
    """Projected by a subquery, where the name must be another than outside."""
    GROUPED = auto()
    """Alone after ``GROUP BY`` or ``ORDER BY``."""
    TESTED = auto()
    """``BOUND(?name)`` as a whole."""
    PREDICATE = auto()
    """``$PATH``."""


@dataclass(frozen=True, slots=True)
class _Slot:
    name: str
    place: _Place
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """A well-formed query, to be run with values for its pre-bound variables."""

    ask: bool
    prologue: str
    """Its prefixes, with the shapes graph's own."""
    terminals: tuple[Terminal, ...]
    """All of it, with the prologue that is its own."""
    names: frozenset[str]
    """Its variables."""
    exact: bool
    """Whether it counts solutions, so that it matters that a triple is met once."""
    _pieces: tuple[str | _Slot, ...]

    def bind(self, values: Mapping[str, Node], path: Path | None = None) -> str:
        """The query with these variables replaced by their values, and ``$PATH`` by the path."""
        parts = [self.prologue]
        for number, piece in enumerate(self._pieces):
            if isinstance(piece, str):
                parts.append(piece)
            elif piece.place is _Place.PREDICATE:
                parts.append(piece.text if path is None else f" {_path_text(path)} ")
            elif piece.name in values:
                parts.append(f" {_bound(piece, str(values[piece.name]), number)} ")
            else:
                parts.append(piece.text)
        return "".join(parts)

    def check(self, values: Mapping[str, Node], path: Path | None) -> None:
        """Raises :class:`BadQuery` where it is no query any more with these values."""
        fault = _engine_fault(self.bind(values, path), len(self.prologue), self.ask)
        if fault is not None:
            raise BadQuery(f"cannot be run with its parameters: {fault[1]}")


def _bound(slot: _Slot, value: str, number: int) -> str:
    match slot.place:
        case _Place.PROJECTED:
            return f"({value} AS ?{slot.name})"
        case _Place.SUBQUERY:
            return f"({value} AS ?{slot.name}_{number})"
        case _Place.GROUPED:
            return f"({value})"
        case _Place.TESTED:
            return "(true)"
    return value


def _path_text(path: Path) -> str:
    return str(path) if isinstance(path, Predicate) else f"({path})"


def read_query(
    text: str,
    prefixes: Mapping[str, str],
    *,
    ask: bool = False,
    prebound: Collection[str] | None = None,
    path: Path | None = None,
    required: Sequence[str] = ("this",),
) -> Template:
    """Reads a query of a shapes graph; ``path`` is that of its shape.

    ``prebound`` names the variables that get values, with none at all where nothing is pre-bound
    (a target). ``required`` are those that a SELECT must project. Raises :class:`BadQuery`, which
    names the place.
    """
    if len(text) > MAX_TEXT:
        raise BadQuery(f"has {len(text)} characters: the limit is {MAX_TEXT}")
    try:
        head = query_head(text)
        found = [Terminal(kind, text[start:end], start, end) for kind, start, end in scan(text)]
    except SparqlError as error:
        raise BadQuery(f"is not taken: {error}") from error
    if len(found) > MAX_TERMINALS:
        raise BadQuery(f"has {len(found)} words and signs: the limit is {MAX_TERMINALS}")
    form = "ASK" if ask else "SELECT"
    if head.form != form:
        raise BadQuery(f"is a query of the form {head.form}; here it must be {form}")
    if head.has_dataset:
        raise BadQuery("has a FROM clause; it is run on the data graph")
    first = next(
        number
        for number, item in enumerate(found)
        if item.kind == "WORD" and item.text.upper() == form
    )
    start = found[first].start
    declared = "".join(f"PREFIX {name}: <{iri}> " for name, iri in sorted(prefixes.items()))
    _check(text, start, declared, ask)
    reader = _Reader(text, found[first:], frozenset(prebound or ()), path)
    pieces = tuple(reader.read(refusing=prebound is not None))
    if not ask:
        missing = [name for name in required if name not in reader.projected]
        if missing and not reader.projects_all:
            raise BadQuery(f"does not project {_variables(missing)}, which its results need")
    template = Template(
        ask, declared + text[:start], tuple(found), reader.names, reader.exact, pieces
    )
    template.check(dict.fromkeys(prebound or (), _SAMPLE), path)
    return template


def _check(text: str, start: int, declared: str, ask: bool) -> None:
    """Raises :class:`BadQuery` where the engine cannot read it, with the place in the text."""
    fault = _engine_fault(declared + text, len(declared) + start, ask)
    if fault is not None:
        place = _place(text, min(max(fault[0] - len(declared), 0), len(text)))
        raise BadQuery(f"does not parse: {place}: {fault[1]}")


def _engine_fault(text: str, start: int, ask: bool) -> tuple[int, str] | None:
    """Where and why the engine's parser stops, without anything being planned or run.

    The query stands in an update, behind an operation that cannot be done: the engine reads all of
    an update before it does the first thing, and there it ends.
    """
    prologue = text[:start]
    # There are no ASK queries inside others.
    rest = text[start + len("ASK") :] if ask else text[start:]
    before = f"{prologue}DROP GRAPH {_SAMPLE} ; INSERT {{ }} WHERE {{ {{ "
    if ask:
        before += "SELECT (1 AS ?found_1) "
    whole = f"{before}{rest}\n }} }}"
    try:
        open_memory().update(whole)
    except SyntaxError as error:
        found = _ENGINE_POSITION.match(str(error))
        if found is None:
            return start, str(error)
        lines = whole.split("\n")[: int(found[1]) - 1]
        at = sum(len(line) + 1 for line in lines) + int(found[2]) - 1
        if at >= len(prologue):
            at = max(at - len(before), 0) + len(text) - len(rest)
        return at, _why(found[3])
    except (ValueError, RuntimeError):
        return None
    return start, "it goes on behind its end"


def _why(said: str) -> str:
    if "Prefix not found" in said:
        return "a prefix that is not declared: see sh:prefixes"
    return said if len(said) <= _LONGEST_REASON else "this cannot stand here"


class _Reader:
    """One pass over the terminals of a query, from its form on."""

    def __init__(
        self,
        text: str,
        found: Sequence[Terminal],
        prebound: frozenset[str],
        path: Path | None,
    ) -> None:
        self._text = text
        self._found = found
        self._clauses = _clauses(text, found)
        self._prebound = prebound
        self._path = path
        self.names: frozenset[str] = frozenset()
        self.projected: set[str] = set()
        self.projects_all = False
        self.exact = False

    def read(self, *, refusing: bool) -> Iterator[str | _Slot]:
        names: set[str] = set()
        copied = self._found[0].start
        for number, item in enumerate(self._found):
            word = item.text.upper() if item.kind == "WORD" else ""
            clause = self._clauses[number]
            if word == "LATERAL":
                raise BadQuery("uses LATERAL, which is no SPARQL")
            if refusing and word in ("MINUS", "VALUES"):
                raise BadQuery(f"uses {word}, which a query with pre-bound variables cannot")
            if refusing and word == "SELECT" and clause.depth:
                self._refuse_subquery(number)
            if item.kind == "IRIREF" and clause.brackets:
                self._refuse_misleading(number)
            self.exact |= word in _COUNTING
            slot = None
            if item.kind == "VAR" and item.start >= copied:
                names.add(item.text[1:])
                slot = self._variable(number, item.text[1:], clause)
            elif word == "BOUND":
                slot = self._tested(number)
            if slot is not None:
                yield self._text[copied : item.start]
                yield slot
                copied = item.start + len(slot.text)
        yield self._text[copied:]
        self.names = frozenset(names)
        self.projected, self.projects_all = _projection(self._found, 0)

    def _variable(self, number: int, name: str, clause: _Clause) -> _Slot | None:
        token = self._found[number]
        if name == PATH and self._prebound:
            return self._predicate(number, clause)
        if name not in self._prebound:
            return None
        previous = self._found[number - 1] if number else None
        if previous is not None and previous.kind == "WORD" and previous.text.upper() == "AS":
            raise BadQuery(f"gives {token.text} another value by AS, and it is bound before")
        if clause.name == "SELECT" and not clause.brackets:
            place = _Place.SUBQUERY if clause.depth else _Place.PROJECTED
        elif clause.name in ("GROUP", "ORDER") and not clause.brackets:
            place = _Place.GROUPED
        else:
            place = _Place.TERM
        return _Slot(name, place, token.text)

    def _predicate(self, number: int, clause: _Clause) -> _Slot:
        token = self._found[number]
        if self._path is None:
            raise BadQuery("uses $PATH, and its shape has no sh:path")
        before = self._found[number - 1] if number else None
        after = self._found[number + 1] if number + 1 < len(self._found) else None
        if (
            clause.name == "WHERE"
            and not clause.brackets
            and before is not None
            and (before.kind in _TERM_KINDS or before.text in (";", "[", "]", ")"))
            and after is not None
            and (
                after.kind in _OBJECT_STARTS
                or after.text in ("[", "(")
                or after.text.lower() in ("true", "false")
            )
        ):
            return _Slot(PATH, _Place.PREDICATE, token.text)
        place = _place(self._text, token.start)
        raise BadQuery(f"uses $PATH elsewhere than as the predicate of a triple pattern ({place})")

    def _tested(self, number: int) -> _Slot | None:
        """``BOUND`` of a pre-bound variable: a value is no variable, so it cannot stand there."""
        following = self._found[number + 1 : number + 4]
        if [item.kind for item in following] != ["PUNCTUATION", "VAR", "PUNCTUATION"]:
            return None
        name = following[1].text[1:]
        if name not in self._prebound:
            return None
        whole = self._text[self._found[number].start : following[2].end]
        return _Slot(name, _Place.TESTED, whole)

    def _refuse_misleading(self, number: int) -> None:
        item, previous = self._found[number], self._found[number - 1]
        operand = previous.kind not in ("PUNCTUATION", "WORD") or previous.text == ")"
        if operand and _MISLEADING.search(item.text):
            raise BadQuery(
                f"holds {item.text} right after an operand, which can be read in two ways"
                f" ({_place(self._text, item.start)}): put a space after '<', or use a prefix"
            )

    def _refuse_subquery(self, number: int) -> None:
        projected, _ = _projection(self._found, number)
        missing = sorted(self._prebound - _OPTIONAL - projected)
        if missing:
            raise BadQuery(
                f"has a subquery that does not project {_variables(missing)}"
                f" ({_place(self._text, self._found[number].start)}): name it after SELECT"
            )


# What makes the number of equal solutions count.
_COUNTING = frozenset(
    {"COUNT", "SUM", "AVG", "GROUP_CONCAT", "SAMPLE", "LIMIT", "OFFSET", "MIN", "MAX"}
)


@dataclass(frozen=True, slots=True)
class _Clause:
    """Where a terminal stands: the clause, braces around it, brackets since the last brace."""

    name: str
    depth: int
    brackets: int


def _clauses(text: str, found: Sequence[Terminal]) -> list[_Clause]:
    """The clause of each terminal. Raises :class:`BadQuery` for brackets that don't match."""
    out: list[_Clause] = []
    # For each open brace: the clause outside, and the round brackets open there.
    outer: list[tuple[str, int]] = []
    name, brackets = "WHERE", 0
    for token in found:
        said = token.text.upper() if token.kind == "WORD" else token.text
        if token.kind == "WORD" and not brackets:
            if said in ("SELECT", "GROUP", "ORDER"):
                name = said
            elif said == "WHERE" or said in _ENDS_GROUP_BY:
                name = "WHERE"
        if token.kind == "PUNCTUATION":
            if said == "{":
                out.append(_Clause("WHERE", len(outer), brackets))
                outer.append(("WHERE" if not brackets else name, brackets))
                name, brackets = "WHERE", 0
                if len(outer) > MAX_DEPTH:
                    raise BadQuery(f"has more than {MAX_DEPTH} braces inside each other")
                continue
            if said == "}":
                if not outer:
                    raise BadQuery(f"has a '}}' that closes nothing ({_place(text, token.start)})")
                name, brackets = outer.pop()
            elif said == "(":
                brackets += 1
                if brackets > MAX_DEPTH:
                    raise BadQuery(f"has more than {MAX_DEPTH} brackets inside each other")
            elif said == ")":
                brackets -= 1
        out.append(_Clause(name, len(outer), max(brackets, 0)))
    return out


def _projection(found: Sequence[Terminal], number: int) -> tuple[set[str], bool]:
    """What a SELECT projects, and whether by a star."""
    projected: set[str] = set()
    brackets = 0
    for place in range(number + 1, len(found)):
        token = found[place]
        if token.text == "{" and not brackets:
            break
        if token.text == "(":
            brackets += 1
        elif token.text == ")":
            brackets -= 1
        elif token.text == "*" and not brackets:
            return projected, True
        elif token.kind == "VAR" and (not brackets or found[place - 1].text.upper() == "AS"):
            projected.add(token.text[1:])
    return projected, False


def _variables(names: Sequence[str]) -> str:
    return ", ".join(f"${name}" for name in names)


def _place(text: str, offset: int) -> str:
    line, column = position(text, offset)
    return f"line {line}, column {column}"
