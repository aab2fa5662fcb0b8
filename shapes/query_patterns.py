"""The graph patterns of a query, as far as it matters which triples it can rest on.

Invariant: every triple pattern of the query is in what comes out, wherever it stands; a query with
anything in it that is not known here is not read at all.
Specification: https://www.w3.org/TR/sparql11-query/#sparqlGrammar
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count

from pyoxigraph import NamedNode

from ontology.vocab import Rdf
from shapes.paths import Chain, Either, Inverse, Optional, Path, Predicate, Repeated
from shapes.sparql_text import PATH, Template, Terminal
from shapes.view import Node

MAX_DEPTH = 40
"""Groups inside each other."""

End = str
"""A variable or blank node by its name, as the query writes it; any other term is ``CONSTANT``."""
CONSTANT: End = ""


class NotRead(Exception):
    """A query with something in it that is not known here."""


@dataclass(frozen=True, slots=True)
class TriplePattern:
    """``path`` is ``None`` where the predicate is a variable."""

    subject: End
    path: Path | None
    value: End


@dataclass(slots=True)
class Branches:
    """``UNION``; of one group alone, that group inside another."""

    groups: list[Group]


@dataclass(slots=True)
class Maybe:
    """``OPTIONAL``"""

    group: Group


@dataclass(slots=True)
class Exists:
    """``EXISTS`` or ``NOT EXISTS``. ``early`` is whether only what stands before it is bound there:
    in ``BIND``, not in ``FILTER``."""

    group: Group
    early: bool


@dataclass(slots=True)
class Subquery:
    """A subquery; ``projected`` is empty where it groups."""

    group: Group
    projected: frozenset[End]


@dataclass(slots=True)
class Elsewhere:
    """``GRAPH``: triples of another graph."""

    group: Group


Element = TriplePattern | Branches | Maybe | Exists | Subquery | Elsewhere


@dataclass(slots=True)
class Group:
    """What stands between two braces, in its order."""

    elements: list[Element] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Patterns:
    """All of a query's patterns. ``predicates`` are those it mentions, ``None`` where it may rest
    on any triple at all."""

    group: Group
    predicates: frozenset[NamedNode] | None


def read_patterns(
    template: Template,
    prefixes: Mapping[str, str],
    bound: Mapping[str, Node],
    path: Path | None,
    anchors: Collection[End],
) -> Patterns:
    """Reads the patterns of a query whose parameters are ``bound``; ``path`` stands for ``$PATH``,
    and ``anchors`` are its other pre-bound variables.

    Raises :class:`NotRead`.
    """
    reader = _Reader(template.terminals, prefixes, bound, path, anchors)
    group = reader.query()
    return Patterns(group, None if reader.any_triple else frozenset(reader.predicates))


_ENDS = frozenset({".", ";", ",", "}", "]", ")", "|}"})
_LITERALS = frozenset({"STRING", "INTEGER", "DECIMAL", "DOUBLE"})


class _Reader:
    def __init__(
        self,
        terminals: tuple[Terminal, ...],
        prefixes: Mapping[str, str],
        bound: Mapping[str, Node],
        path: Path | None,
        anchors: Collection[End],
    ) -> None:
        self._rest = list(reversed(terminals))
        self._prefixes = dict(prefixes)
        self._bound = bound
        self._path = path
        self._known = frozenset({CONSTANT, *anchors})
        self._fresh = count()
        self._depth = 0
        self.predicates: set[NamedNode] = set()
        self.any_triple = False

    # --- terminals

    def _peek(self) -> str:
        """The next terminal; words in capitals."""
        if not self._rest:
            raise NotRead
        item = self._rest[-1]
        return item.text.upper() if item.kind == "WORD" and item.text != "a" else item.text

    def _kind(self) -> str:
        return self._rest[-1].kind if self._rest else ""

    def _take(self, wanted: str | None = None) -> Terminal:
        if not self._rest or (wanted is not None and self._peek() != wanted):
            raise NotRead
        return self._rest.pop()

    def _next(self, wanted: str) -> bool:
        if self._rest and self._peek() == wanted:
            self._rest.pop()
            return True
        return False

    def _iri(self) -> NamedNode:
        item = self._take()
        try:
            if item.kind == "IRIREF" and "\\" not in item.text:
                return NamedNode(item.text[1:-1])
            if item.kind == "PNAME":
                prefix, _, local = item.text.partition(":")
                return NamedNode(self._prefixes[prefix] + local.replace("\\", ""))
        except (KeyError, ValueError) as error:
            raise NotRead from error
        raise NotRead

    # --- the query

    def query(self) -> Group:
        while self._next("PREFIX"):
            name = self._take().text[:-1]
            self._prefixes[name] = self._iri().value
        if self._next("ASK"):
            self._next("WHERE")
            group = self._group()
        else:
            group = self._select().group
        if self._rest:
            raise NotRead
        return group

    def _select(self) -> Subquery:
        """A SELECT, from its keyword to the end of its modifiers."""
        self._take("SELECT")
        projected: set[End] = set()
        while self._peek() not in ("WHERE", "{"):
            if self._peek() == "(":
                self._expression_without_patterns()
            else:
                item = self._take()
                if item.kind == "VAR":
                    projected.add(_name(item))
                elif item.text.upper() not in ("DISTINCT", "REDUCED", "*"):
                    raise NotRead
        self._next("WHERE")
        group = self._group()
        grouped = False
        while self._rest and self._peek() != "}":
            if self._peek() == "(":
                self._expression_without_patterns()
            else:
                grouped |= self._peek() in ("GROUP", "HAVING")
                if self._peek() in ("VALUES", "{"):
                    raise NotRead
                self._take()
        return Subquery(group, frozenset() if grouped else frozenset(projected))

    def _expression_without_patterns(self) -> None:
        if list(self._brackets()):
            raise NotRead

    def _brackets(self) -> Iterator[Group]:
        """From an opening bracket to the one that closes it; the patterns of EXISTS in between."""
        self._take("(")
        depth = 1
        while depth:
            if self._peek() == "EXISTS":
                self._take()
                yield self._group()
                continue
            if self._peek() in ("{", "}"):
                raise NotRead
            text = self._take().text
            depth += (text == "(") - (text == ")")

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise NotRead

    # --- groups

    def _group(self) -> Group:
        self._take("{")
        self._deeper()
        group = Group()
        while not self._next("}"):
            self._element(group)
        self._depth -= 1
        return group

    def _element(self, group: Group) -> None:
        match self._peek():
            case ".":
                self._take()
            case "{":
                group.elements.append(self._branches())
            case "OPTIONAL":
                self._take()
                group.elements.append(Maybe(self._group()))
            case "FILTER":
                self._take()
                group.elements += [Exists(inner, False) for inner in self._constraint()]
            case "BIND":
                self._take()
                group.elements += [Exists(inner, True) for inner in self._brackets()]
            case "GRAPH":
                self._take()
                self._take()
                inner = self._group()
                # Whether there is such a graph at all counts too.
                self.any_triple |= not inner.elements
                group.elements.append(Elsewhere(inner))
            case _:
                self._triples(group)

    def _branches(self) -> Branches | Subquery:
        if len(self._rest) > 1 and self._rest[-2].text.upper() == "SELECT":
            self._take("{")
            self._depth += 1
            found = self._select()
            self._depth -= 1
            self._take("}")
            if self._rest and self._peek() == "UNION":
                raise NotRead
            return found
        groups = [self._group()]
        while self._next("UNION"):
            groups.append(self._group())
        return Branches(groups)

    def _constraint(self) -> list[Group]:
        while self._peek() != "(":
            if self._next("EXISTS"):
                return [self._group()]
            if self._peek() in ("{", "}"):
                raise NotRead
            self._take()
        return list(self._brackets())

    # --- triples

    def _triples(self, group: Group) -> None:
        if self._peek() == "[":
            subject = self._node(group)
            if self._peek() in (".", "}"):
                return
        else:
            subject = self._node(group)
        self._properties(group, subject)

    def _properties(self, group: Group, subject: End) -> None:
        while True:
            while self._next(";"):
                pass
            if self._peek() in _ENDS:
                return
            path = self._verb()
            while True:
                value = self._node(group)
                self._add(group, TriplePattern(subject, path, value))
                if not self._next(","):
                    break
            if self._peek() != ";":
                return

    def _add(self, group: Group, pattern: TriplePattern) -> None:
        group.elements.append(pattern)
        if pattern.path is None:
            self.any_triple = True
            return
        self.predicates.update(_predicates(pattern.path))
        if may_stay(pattern.path) and not {pattern.subject, pattern.value} & self._known:
            # Both ends may be any node there is.
            self.any_triple = True

    def _node(self, group: Group) -> End:
        kind = self._kind()
        if kind == "VAR":
            item = self._take()
            return CONSTANT if item.text[1:] in self._bound else _name(item)
        if kind == "BLANK_NODE_LABEL":
            return self._take().text
        if kind in ("IRIREF", "PNAME"):
            self._take()
            return CONSTANT
        if kind in _LITERALS:
            self._take()
            if self._kind() == "LANG_DIR" or self._next("^^"):
                self._take()
            return CONSTANT
        if self._peek() in ("TRUE", "FALSE"):
            self._take()
            return CONSTANT
        if self._next("["):
            blank = f"[{next(self._fresh)}]"
            if not self._next("]"):
                self._deeper()
                self._properties(group, blank)
                self._depth -= 1
                self._take("]")
            return blank
        raise NotRead

    def _verb(self) -> Path | None:
        if self._kind() == "VAR":
            item = self._take()
            if item.text[1:] == PATH and self._path is not None:
                return self._path
            value = self._bound.get(item.text[1:])
            return Predicate(value) if isinstance(value, NamedNode) else None
        return self._either()

    def _either(self) -> Path:
        paths = [self._chain()]
        while self._next("|"):
            paths.append(self._chain())
        return paths[0] if len(paths) == 1 else Either(tuple(paths))

    def _chain(self) -> Path:
        steps = [self._step()]
        while self._next("/"):
            steps.append(self._step())
        return steps[0] if len(steps) == 1 else Chain(tuple(steps))

    def _step(self) -> Path:
        if self._next("^"):
            return Inverse(self._step())
        if self._next("("):
            path = self._either()
            self._take(")")
        elif self._next("a"):
            path = Predicate(NamedNode(Rdf.type))
        else:
            path = Predicate(self._iri())
        if self._next("*"):
            return Repeated(path)
        if self._next("+"):
            return Repeated(path, True)
        return Optional(path) if self._next("?") else path


def _name(item: Terminal) -> End:
    return "?" + item.text[1:] if item.kind == "VAR" else item.text


def _predicates(path: Path) -> Iterator[NamedNode]:
    match path:
        case Predicate(iri):
            yield iri
        case Inverse(inner) | Optional(inner) | Repeated(inner):
            yield from _predicates(inner)
        case Chain(parts) | Either(parts):
            for part in parts:
                yield from _predicates(part)


def may_stay(path: Path) -> bool:
    """Whether a path can lead from a node to itself without any triple."""
    match path:
        case Optional() | Repeated(at_least_once=False):
            return True
        case Inverse(inner) | Repeated(inner):
            return may_stay(inner)
        case Chain(parts):
            return all(map(may_stay, parts))
        case Either(parts):
            return any(map(may_stay, parts))
    return False
