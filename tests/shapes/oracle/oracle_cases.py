"""A case: shapes, a graph, and a change of both.

Invariant: a case is a value. Shapes are made of statements, sets of triples that mean something
together only (a constraint with its list, a path with its parts), so that leaving a statement out
gives shapes again. Nothing in a case that may enter a store is a blank node.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pyoxigraph import NamedNode, Quad, RdfFormat, Triple, serialize

from tests.shapes.oracle.oracle_terms import PREFIXES, RDF, SH, Term


@dataclass(frozen=True)
class Statement:
    """Triples about one shape. ``removable`` says that shapes without it are well formed too."""

    shape: Term
    slot: str
    triples: tuple[Triple, ...]
    removable: bool = True


@dataclass(frozen=True)
class Change:
    """What goes and what comes, in the graphs of data and in the shapes."""

    additions: tuple[Quad, ...] = ()
    removals: tuple[Quad, ...] = ()
    shapes_added: tuple[Statement, ...] = ()
    shapes_removed: tuple[Statement, ...] = ()


@dataclass(frozen=True)
class Case:
    """Shapes and data as they are, and the changes that follow one another."""

    shapes: tuple[Statement, ...]
    data: tuple[Quad, ...]
    changes: tuple[Change, ...] = ()

    def after(self, change: Change) -> Case:
        """The state that the change leads to."""
        gone, going = set(change.shapes_removed), set(change.removals)
        kept = tuple(item for item in self.shapes if item not in gone)
        data = dict.fromkeys(quad for quad in self.data if quad not in going)
        data.update(dict.fromkeys(change.additions))
        return Case(tuple(dict.fromkeys((*kept, *change.shapes_added))), tuple(data))

    def only(self, number: int) -> Case:
        """The state before one of the changes, with that change alone."""
        state = replace(self, changes=())
        for change in self.changes[:number]:
            state = state.after(change)
        return replace(state, changes=(self.changes[number],))


def shape_triples(statements: Iterable[Statement]) -> frozenset[Triple]:
    return frozenset(triple for item in statements for triple in item.triples)


def triples_of(quads: Iterable[Quad]) -> frozenset[Triple]:
    return frozenset(quad.triple for quad in quads)


def ntriples(triples: Iterable[Triple]) -> bytes:
    return "".join(sorted(f"{triple} .\n" for triple in triples)).encode()


def turtle(triples: Iterable[Triple]) -> str:
    """For a person to read."""
    ordered = sorted(triples, key=str)
    text = serialize(ordered, format=RdfFormat.TURTLE, prefixes=PREFIXES)
    return text.decode() if text and ordered else ""


def in_graph(triples: Iterable[Triple], graph: NamedNode) -> frozenset[Quad]:
    return frozenset(
        Quad(triple.subject, triple.predicate, triple.object, graph) for triple in triples
    )


def describe(case: Case) -> str:
    """The case as a person reads it."""
    parts = [
        ("shapes", turtle(shape_triples(case.shapes))),
        ("data", turtle(triples_of(case.data))),
    ]
    for number, change in enumerate(case.changes):
        parts += [
            (f"change {number}: data added", "\n".join(map(str, change.additions))),
            (f"change {number}: data removed", "\n".join(map(str, change.removals))),
            (f"change {number}: shapes added", turtle(shape_triples(change.shapes_added))),
            (f"change {number}: shapes removed", turtle(shape_triples(change.shapes_removed))),
        ]
    return "\n".join(f"--- {name}\n{_without_prefixes(text)}" for name, text in parts if text)


def _without_prefixes(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("@prefix"))


def uses(case: Case, *predicates: str) -> bool:
    """Whether the shapes have one of these SHACL predicates."""
    wanted = {SH + name for name in predicates}
    return any(triple.predicate.value in wanted for triple in shape_triples(case.shapes))


def recursive(statements: Iterable[Statement]) -> bool:
    """Whether a shape refers to itself, in the end, or leaves out of its count what conforms to a
    sibling that does. Shapes are made without rings, but siblings come to be by chance."""
    triples = shape_triples(statements)
    values: dict[tuple[str, str], list[str]] = {}
    for triple in triples:
        key = (str(triple.subject), triple.predicate.value)
        values.setdefault(key, []).append(str(triple.object))

    def of(subject: str, name: str) -> list[str]:
        return values.get((subject, name), [])

    def members(head: str) -> list[str]:
        return [
            *of(head, RDF + "first"),
            *(m for rest in of(head, RDF + "rest") for m in members(rest)),
        ]

    referred: dict[str, set[str]] = {}
    for subject in {str(triple.subject) for triple in triples}:
        found = {item for name in _REFERRING for item in of(subject, SH + name)}
        found |= {m for name in _LISTING for head in of(subject, SH + name) for m in members(head)}
        referred[subject] = found
    for subject in list(referred):
        for shape in of(subject, SH + "property"):
            if any("true" in text for text in of(shape, SH + "qualifiedValueShapesDisjoint")):
                own = set(of(shape, SH + "qualifiedValueShape"))
                for sibling in of(subject, SH + "property"):
                    referred[shape] |= set(of(sibling, SH + "qualifiedValueShape")) - own
    return any(_reaches(referred, start) for start in referred)


_REFERRING = ("not", "node", "property", "qualifiedValueShape")
_LISTING = ("and", "or", "xone")


def _reaches(referred: dict[str, set[str]], start: str) -> bool:
    found: set[str] = set()
    waiting = list(referred[start])
    while waiting:
        shape = waiting.pop()
        if shape not in found:
            found.add(shape)
            waiting += referred.get(shape, ())
    return start in found
