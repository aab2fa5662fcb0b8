"""Questions about a whole store that its engine answers without handing out what is in order.

Invariant: every query sees asserted statements alone, whichever graphs make them, and how often. A
query names at least the nodes that it is to name: two graphs that say the same, or an engine that
takes 255 for 256, may add to an answer and never take away. Nothing is gathered that grows with the
graph: values come in the order of the index and are passed over while they repeat, instances are
counted in slices.
Specification: https://www.w3.org/TR/sparql11-query/
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from pyoxigraph import NamedNode

from ontology.store import GraphStore
from shapes.overlay import node
from shapes.view import TYPE, Node

# A solution modifier, so that the engine does not look at what comes after for each repetition.
_ALL = f"LIMIT {2**32}"


@dataclass(frozen=True)
class Slice:
    """Some of the instances of a class, in the order of the index."""

    kind: NamedNode
    start: int
    number: int


class SuspectQueries:
    """The questions, of a store without a change on top. The answer is ``None`` where it takes more
    than ``most`` solutions."""

    def __init__(self, store: GraphStore, most: int) -> None:
        self._store = store
        self._most = most
        self._statements: dict[NamedNode, int] = {}
        self._system = _listed(NamedNode(graph) for graph in sorted(store.system_graphs))

    # --- how many there are

    def kinds(self) -> dict[NamedNode, int]:
        """Every type that a node has, with the number of statements of it."""
        query = f"SELECT ?t (COUNT(*) AS ?n) {{ {self._stated('?s', TYPE, '?t')} }} GROUP BY ?t"
        return {
            row[0]: int(row[1].value)
            for row in self._store.rows(query)
            # A literal is no class.
            if isinstance(row[0], NamedNode)
        }

    def statements(self, predicate: NamedNode) -> int:
        """How many statements have a predicate; one that two graphs make counts twice."""
        if predicate not in self._statements:
            query = f"SELECT (COUNT(*) AS ?n) {{ {self._stated('?s', predicate, '?v')} }}"
            number = sum(int(row[0].value) for row in self._store.rows(query))
            self._statements[predicate] = number
        return self._statements[predicate]

    def is_used(self, predicate: NamedNode) -> bool:
        query = f"SELECT ?s {{ {self._stated('?s', predicate, '?v')} }} LIMIT 1"
        return any(True for _ in self._store.rows(query))

    def profile(self, part: Slice) -> dict[NamedNode, tuple[int, int]]:
        """For each predicate of these instances, how many statements and how many subjects it has
        among them; what several graphs say counts several times, among the statements alone."""
        query = (
            "SELECT ?p (COUNT(*) AS ?n) (COUNT(DISTINCT ?s) AS ?d)"
            f" {{ {self._slice(part)} {self._stated('?s', '?p', '?v', '?h')} }} GROUP BY ?p"
        )
        rows = self._store.rows(query)
        return {row[0]: (int(row[1].value), int(row[2].value)) for row in rows}

    def pointing(self, part: Slice) -> dict[NamedNode, int]:
        """For each predicate, how many statements have one of these instances for a value."""
        pattern = f"{self._slice(part)} {self._stated('?x', '?p', '?s', '?h')}"
        query = f"SELECT ?p (COUNT(*) AS ?n) {{ {pattern} }} GROUP BY ?p"
        return {row[0]: int(row[1].value) for row in self._store.rows(query)}

    # --- instances by how many values they have

    def lacking(self, part: Slice, predicate: NamedNode) -> set[Node] | None:
        """Instances without a value."""
        values = self._stated("?s", predicate, "?v", "?h")
        return self._nodes(f"{self._slice(part)} FILTER NOT EXISTS {{ {values} }}")

    def having(self, part: Slice, predicate: NamedNode) -> set[Node] | None:
        """Instances with a value."""
        return self._nodes(f"{self._slice(part)} {self._stated('?s', predicate, '?v', '?h')}")

    def having_more(self, part: Slice, predicate: NamedNode, most: int) -> set[Node] | None:
        """Instances with more values than that."""
        values = f"{self._slice(part)} {self._stated('?s', predicate, '?v', '?h')}"
        return self._nodes(values, f"GROUP BY ?s HAVING (COUNT(DISTINCT ?v) > {most})")

    # --- subjects by their values

    def values(self, predicate: NamedNode) -> Iterator[Node]:
        """The values of a predicate, hardly ever one again."""
        for row in self._store.rows(f"SELECT {self._values(predicate)}"):
            yield node(row[0])

    def of_values(
        self, predicate: NamedNode, values: Collection[Node], kinds: Collection[Node] | None
    ) -> set[Node] | None:
        """The subjects that have one of these values, of these types alone if they are given."""
        given = " ".join(map(str, values))
        stated = self._stated("?s", predicate, "?v")
        return self._nodes(f"VALUES ?v {{ {given} }} {stated} {self._of(kinds)}")

    def has_value_outside(self, predicate: NamedNode, kinds: Collection[Node]) -> bool:
        """Whether a value of a predicate is of none of these types."""
        query = f"SELECT ?v {{ {self._values_outside(predicate, kinds)} }} LIMIT 1"
        return any(True for _ in self._store.rows(query))

    def of_values_outside(
        self, predicate: NamedNode, kinds: Collection[Node], subjects: Collection[Node] | None
    ) -> set[Node] | None:
        """The subjects with a value of none of these types; ``subjects`` are types of theirs."""
        values = f"{{ SELECT ?v {{ {self._values_outside(predicate, kinds)} }} {_ALL} }}"
        return self._nodes(f"{values} {self._stated('?s', predicate, '?v')} {self._of(subjects)}")

    def of_values_outside_at(
        self, kind: NamedNode, predicate: NamedNode, kinds: Collection[Node]
    ) -> set[Node] | None:
        """The same of the instances of one class, which are begun with."""
        instances = self._stated("?s", TYPE, str(kind), "?i")
        stated = self._stated("?s", predicate, "?v")
        return self._nodes(f"{instances} {stated} {self._outside('?v', kinds)}")

    # --- nodes by their types

    def subjects_outside(self, predicate: NamedNode, kinds: Collection[Node]) -> set[Node] | None:
        """The subjects of a predicate that are of none of these types."""
        return self._nodes(f"{self._stated('?s', predicate, '?v')} {self._outside('?s', kinds)}")

    def instances_outside(self, kind: NamedNode, kinds: Collection[Node]) -> set[Node] | None:
        """The instances of a class that are of none of these types."""
        return self._nodes(f"{self._stated('?s', TYPE, str(kind))} {self._outside('?s', kinds)}")

    # --- the parts of a query

    def _nodes(self, pattern: str, after: str = "") -> set[Node] | None:
        query = f"SELECT ?s {{ {pattern} }} {after} LIMIT {self._most + 1}"
        found = [node(row[0]) for row in self._store.rows(query)]
        return set(found) if len(found) <= self._most else None

    def _stated(
        self, subject: str, predicate: NamedNode | str, value: str, graph: str = "?g"
    ) -> str:
        pattern = f"GRAPH {graph} {{ {subject} {predicate} {value} }}"
        return f"{pattern} FILTER({graph} NOT IN {self._system})"

    def _slice(self, part: Slice) -> str:
        instances = self._stated("?s", TYPE, str(part.kind))
        return f"{{ SELECT REDUCED ?s {{ {instances} }} OFFSET {part.start} LIMIT {part.number} }}"

    def _values(self, predicate: NamedNode) -> str:
        return f"REDUCED ?v {{ {self._stated('?s', predicate, '?v')} }}"

    def _values_outside(self, predicate: NamedNode, kinds: Collection[Node]) -> str:
        return f"{{ SELECT {self._values(predicate)} {_ALL} }} {self._outside('?v', kinds)}"

    def _outside(self, variable: str, kinds: Collection[Node]) -> str:
        types = self._stated(variable, TYPE, "?t", "?j")
        return f"FILTER NOT EXISTS {{ {types} FILTER(?t IN {_listed(kinds)}) }}"

    def _of(self, kinds: Collection[Node] | None) -> str:
        if kinds is None:
            return ""
        return f"FILTER EXISTS {{ GRAPH ?k {{ ?s {TYPE} ?u }} FILTER(?u IN {_listed(kinds)}) }}"


def _listed(terms: Collection[Node] | Iterator[NamedNode]) -> str:
    return f"({', '.join(sorted(map(str, terms)))})"
