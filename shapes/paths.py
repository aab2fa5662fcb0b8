"""Property paths: following them, walking them back, and writing them down.

Invariant: a path is followed over a view of the graph with set semantics, so a cycle ends; the text
of a path is its SPARQL form, from which it can be read again.
Specification: https://www.w3.org/TR/shacl/#property-paths
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from pyoxigraph import BlankNode, NamedNode, Triple

from ontology.vocab import Rdf, Sh
from shapes.view import Node, View


class Path:
    """A way from a node to others."""

    __slots__ = ()

    def follow(self, view: View, node: Node) -> Sequence[Node]:
        """The nodes this path leads to, each once."""
        raise TypeError(f"{type(self).__name__} is no path of its own")

    def back(self, view: View, node: Node) -> Sequence[Node]:
        """The nodes from which this path leads here, each once."""
        raise TypeError(f"{type(self).__name__} is no path of its own")


@dataclass(frozen=True, slots=True)
class Predicate(Path):
    iri: NamedNode

    def follow(self, view: View, node: Node) -> Sequence[Node]:
        return view.objects(node, self.iri)

    def back(self, view: View, node: Node) -> Sequence[Node]:
        return view.subjects(self.iri, node)

    def __str__(self) -> str:
        return str(self.iri)


@dataclass(frozen=True, slots=True)
class Inverse(Path):
    path: Path

    def follow(self, view: View, node: Node) -> Sequence[Node]:
        return self.path.back(view, node)

    def back(self, view: View, node: Node) -> Sequence[Node]:
        return self.path.follow(view, node)

    def __str__(self) -> str:
        return f"^{_grouped(self.path)}"


@dataclass(frozen=True, slots=True)
class Chain(Path):
    """A sequence path: one step after the other; no steps at all stay where they are."""

    steps: tuple[Path, ...]

    def follow(self, view: View, node: Node) -> Sequence[Node]:
        return _through([step.follow for step in self.steps], view, node)

    def back(self, view: View, node: Node) -> Sequence[Node]:
        return _through([step.back for step in reversed(self.steps)], view, node)

    def __str__(self) -> str:
        return "/".join(map(_grouped, self.steps))


@dataclass(frozen=True, slots=True)
class Either(Path):
    """An alternative path."""

    paths: tuple[Path, ...]

    def follow(self, view: View, node: Node) -> Sequence[Node]:
        return _unique(item for path in self.paths for item in path.follow(view, node))

    def back(self, view: View, node: Node) -> Sequence[Node]:
        return _unique(item for path in self.paths for item in path.back(view, node))

    def __str__(self) -> str:
        return "|".join(map(_grouped, self.paths))


@dataclass(frozen=True, slots=True)
class Repeated(Path):
    """A path taken again and again: ``*`` with the node itself, ``+`` without."""

    path: Path
    at_least_once: bool = False

    def follow(self, view: View, node: Node) -> Sequence[Node]:
        return _reachable(self.path.follow, view, node, self.at_least_once)

    def back(self, view: View, node: Node) -> Sequence[Node]:
        return _reachable(self.path.back, view, node, self.at_least_once)

    def __str__(self) -> str:
        return _grouped(self.path) + ("+" if self.at_least_once else "*")


@dataclass(frozen=True, slots=True)
class Optional(Path):
    """A path taken once or not at all."""

    path: Path

    def follow(self, view: View, node: Node) -> Sequence[Node]:
        return _unique([node, *self.path.follow(view, node)])

    def back(self, view: View, node: Node) -> Sequence[Node]:
        return _unique([node, *self.path.back(view, node)])

    def __str__(self) -> str:
        return _grouped(self.path) + "?"


Step = Callable[[View, Node], Sequence[Node]]


def _through(steps: Iterable[Step], view: View, node: Node) -> Sequence[Node]:
    reached: Sequence[Node] = (node,)
    for step in steps:
        if len(reached) == 1:
            reached = step(view, reached[0])
        else:
            reached = _unique(item for start in reached for item in step(view, start))
    return reached


def _reachable(step: Step, view: View, node: Node, at_least_once: bool) -> Sequence[Node]:
    found: dict[Node, None] = {} if at_least_once else {node: None}
    waiting = [node]
    while waiting:
        for item in step(view, waiting.pop()):
            if item not in found:
                found[item] = None
                waiting.append(item)
    return tuple(found)


def _unique(items: Iterable[Node]) -> tuple[Node, ...]:
    return tuple(dict.fromkeys(items))


def _grouped(path: Path) -> str:
    return str(path) if isinstance(path, Predicate) else f"({path})"


def chain(*paths: Path) -> Path:
    """One path after the other, flat."""
    steps: list[Path] = []
    for path in paths:
        steps += path.steps if isinstance(path, Chain) else [path]
    return steps[0] if len(steps) == 1 else Chain(tuple(steps))


HERE = Chain(())
"""The path that leads from a node to itself."""


def inward(path: Path, inverted: bool = False) -> Path:
    """The same path with every inverse moved down to a predicate."""
    match path:
        case Inverse(inner):
            return inward(inner, not inverted)
        case Chain(steps):
            ordered = reversed(steps) if inverted else steps
            return Chain(tuple(inward(step, inverted) for step in ordered))
        case Either(paths):
            return Either(tuple(inward(item, inverted) for item in paths))
        case Repeated(inner, at_least_once):
            return Repeated(inward(inner, inverted), at_least_once)
        case Optional(inner):
            return Optional(inward(inner, inverted))
    return Inverse(path) if inverted else path


@dataclass(frozen=True, slots=True)
class Edge:
    """A statement that a path rests on: at what ``prefix`` leads to, this predicate, forwards or
    backwards. ``predicate`` is ``None`` where any counts."""

    prefix: Path
    predicate: NamedNode | None
    forwards: bool


def edges(path: Path, prefix: Path = HERE) -> Iterator[Edge]:
    """Every statement that following an :func:`inward` path may rest on."""
    match path:
        case Predicate(iri):
            yield Edge(prefix, iri, True)
        case Inverse(Predicate(iri)):
            yield Edge(prefix, iri, False)
        case Chain(steps):
            for number, step in enumerate(steps):
                yield from edges(step, chain(prefix, *steps[:number]))
        case Either(paths):
            for item in paths:
                yield from edges(item, prefix)
        case Repeated(inner):
            yield from edges(inner, chain(prefix, Repeated(inner)))
        case Optional(inner):
            yield from edges(inner, prefix)
        case _:
            raise TypeError(f"{path} has an inverse that was not moved inward")


# --- the text of a path, read again

_TOKEN = re.compile(r"\s*(<[^<>]*>|[\^()/|*+?])")


def read_path(text: str) -> Path:
    """The path of a SPARQL text with full IRIs. Raises :class:`ValueError`."""
    tokens: list[str] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"{text} is no property path")
        tokens.append(match[1])
        position = match.end()
    reader = _Reader(tokens, text)
    path = reader.either()
    if reader.rest:
        raise ValueError(f"{text} is no property path")
    return path


class _Reader:
    def __init__(self, tokens: list[str], text: str) -> None:
        self.rest = tokens[::-1]
        self._text = text

    def either(self) -> Path:
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
            path = self.either()
            if not self._next(")"):
                raise ValueError(f"{self._text} is no property path")
        elif self.rest and self.rest[-1].startswith("<"):
            path = Predicate(NamedNode(self.rest.pop()[1:-1]))
        else:
            raise ValueError(f"{self._text} is no property path")
        while self.rest and self.rest[-1] in "*+?":
            mark = self.rest.pop()
            path = Optional(path) if mark == "?" else Repeated(path, mark == "+")
        return path

    def _next(self, token: str) -> bool:
        if self.rest and self.rest[-1] == token:
            self.rest.pop()
            return True
        return False


# --- a path as RDF


def path_triples(path: Path, name: str) -> tuple[NamedNode | BlankNode, list[Triple]]:
    """The node that stands for a path, and its triples; ``name`` begins its blank nodes' labels."""
    triples: list[Triple] = []
    numbers = count()

    def blank() -> BlankNode:
        return BlankNode(f"{name}{next(numbers)}")

    def listed(items: Sequence[Path]) -> NamedNode | BlankNode:
        head: NamedNode | BlankNode = NamedNode(Rdf.nil)
        for item in reversed(items):
            cell = blank()
            triples.append(Triple(cell, NamedNode(Rdf.first), write(item)))
            triples.append(Triple(cell, NamedNode(Rdf.rest), head))
            head = cell
        return head

    def wrapped(predicate: str, value: NamedNode | BlankNode) -> BlankNode:
        node = blank()
        triples.append(Triple(node, NamedNode(predicate), value))
        return node

    def write(item: Path) -> NamedNode | BlankNode:
        match item:
            case Predicate(iri):
                return iri
            case Inverse(inner):
                return wrapped(Sh.inversePath, write(inner))
            case Chain(steps):
                return listed(steps)
            case Either(paths):
                return wrapped(Sh.alternativePath, listed(paths))
            case Repeated(inner, at_least_once):
                kind = Sh.oneOrMorePath if at_least_once else Sh.zeroOrMorePath
                return wrapped(kind, write(inner))
            case Optional(inner):
                return wrapped(Sh.zeroOrOnePath, write(inner))
        raise TypeError(f"{item} has no RDF form")

    return write(path), triples
