"""The known errors of pySHACL, and of rdflib under it, over shapes that ask by queries.

Invariant: as in :mod:`oracle_corrections`, each changes one thing alone.
Specification: https://www.w3.org/TR/shacl/#sparql-constraint-components
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import rdflib
import rdflib.paths
from pyshacl.constraints.sparql import sparql_based_constraint_components
from pyshacl.helper import path_helper, sparql_query_helper

Patch = tuple[object, str, Any]
"""An object, the name of an attribute, and what it is to be."""


def _path_texts() -> Iterator[Patch]:
    """A path within a path is written without brackets, so that ``$PATH`` is no SPARQL."""
    original: Any = path_helper.shacl_path_to_sparql_path

    def write(shapes: Any, path: Any, prefixes: Any = None, recursion: int = 0) -> str:
        text = str(original(shapes, path, prefixes, recursion))
        return text if recursion == 0 or isinstance(path, rdflib.URIRef) else f"({text})"

    yield path_helper, "shacl_path_to_sparql_path", write
    yield sparql_query_helper, "shacl_path_to_sparql_path", write


def _path_starts() -> Iterator[Patch]:
    """rdflib takes a literal that is false to Python for no end of a ``+``, ``*`` or ``?`` path."""
    original: Any = rdflib.paths.MulPath.eval

    def evaluate(
        self: Any, graph: Any, subject: Any = None, value: Any = None, first: bool = True
    ) -> Iterator[tuple[Any, Any]]:
        if all(end is None or end for end in (subject, value)):
            yield from original(self, graph, subject, value, first)
            return
        start = value if subject is None else subject
        found = {start} if self.zero else set()
        waiting = [start]
        while waiting:
            node = waiting.pop()
            ends = (None, node) if subject is None else (node, None)
            for pair in rdflib.paths.eval_path(graph, (ends[0], self.path, ends[1])):
                reached = pair[0] if subject is None else pair[1]
                if reached not in found:
                    found.add(reached)
                    waiting += [reached] if self.more else []
        if subject is None:
            yield from ((item, value) for item in found)
        else:
            yield from ((subject, item) for item in found if value in (None, item))

    yield rdflib.paths.MulPath, "eval", evaluate


def _ask_validators() -> Iterator[Patch]:
    """A value that is false to Python is not bound, and a property shape doesn't tell the value."""
    component: Any = sparql_based_constraint_components.AskConstraintValidator
    original = component.validate

    def validate(
        self: Any, executor: Any, focus: Any, values: Any, graph: Any, helper: Any = None
    ) -> set[Any]:
        return {
            (value, (None, None, value))
            for value in values
            if original(self, executor, focus, [value], graph, helper, {"value": value})
        }

    yield component, "validate", validate


def _select_validators() -> Iterator[Patch]:
    """A SELECT-based validator is run for each value with ``value`` bound, and never where there is
    no value; it is to be run once for the focus node."""
    component: Any = sparql_based_constraint_components.SelectConstraintValidator
    original = component.validate

    def validate(
        self: Any, executor: Any, focus: Any, values: Any, graph: Any, helper: Any = None
    ) -> set[Any]:
        found = original(self, executor, focus, [None], graph, helper)
        return {(focus, solution) for _, solution in found}

    yield component, "validate", validate


class _Silent:
    """A validator that finds nothing."""

    def evaluate(self, *_given: object) -> tuple[bool, list[Any]]:
        return True, []


def _unsuitable_validators() -> Iterator[Patch]:
    """Where a component has no validator for the kind of shape, validation fails."""
    component: Any = sparql_based_constraint_components.SPARQLConstraintComponent
    original = component.make_validator_for_shape

    def make(self: Any, shape: Any) -> Any:
        own = self.property_validators if shape.is_property_shape else self.node_validators
        return original(self, shape) if own or self.validators else _Silent()

    yield component, "make_validator_for_shape", make


SPARQL_CORRECTIONS: dict[str, Callable[[], Iterator[Patch]]] = {
    "path-texts": _path_texts,
    "path-starts": _path_starts,
    "ask-validators": _ask_validators,
    "select-validators": _select_validators,
    "unsuitable-validators": _unsuitable_validators,
}
