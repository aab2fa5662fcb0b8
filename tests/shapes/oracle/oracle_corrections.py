"""The known errors of pySHACL, each mended alone.

Invariant: a correction changes one thing that pySHACL does against the specification, and nothing
else of it. A difference between us and pySHACL is explained by exactly those corrections without
which it stays; it is never waved through. Each one is proved wrong and right by a named case, so
that one that pySHACL has mended itself is noticed, and goes.
Source: https://github.com/RDFLib/pySHACL
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import rdflib
from pyshacl import shape as shape_module
from pyshacl.constraints.core import (
    property_pair_constraints,
    string_based_constraints,
    value_range_constraints,
)
from pyshacl.constraints.sparql import sparql_based_constraint_components
from pyshacl.helper import expression_helper
from pyshacl.rdfutil import stringify

from tests.shapes.oracle.oracle_compare import less
from tests.shapes.oracle.oracle_sparql_corrections import SPARQL_CORRECTIONS, Patch


def _range_rule(or_equal: bool, minimum: bool) -> Callable[..., tuple[bool, list[Any]]]:
    def evaluate(
        self: Any, bound: Any, graph: Any, values: dict[Any, Any]
    ) -> tuple[bool, list[Any]]:
        found = [
            self.make_v_result(graph, focus, value_node=value)
            for focus, nodes in values.items()
            for value in nodes
            if not (less(bound, value, or_equal) if minimum else less(value, bound, or_equal))
        ]
        return bool(found), found

    return evaluate


def _ranges() -> Iterator[Patch]:
    """Literals are compared as rdflib orders them, not by SPARQL's operators: booleans, language
    tags and unknown datatypes have an order, decimal and NaN end in an exception, and a time is
    never compared with one that has a time zone, however far apart."""
    module = value_range_constraints
    for name, rule, or_equal, minimum in (
        ("MinExclusiveConstraintComponent", "_evaluate_min_rule", False, True),
        ("MinInclusiveConstraintComponent", "_evaluate_min_rule", True, True),
        ("MaxExclusiveConstraintComponent", "_evaluate_max_rule", False, False),
        ("MaxInclusiveConstraintComponent", "_evaluate_max_rule", True, False),
    ):
        yield getattr(module, name), rule, _range_rule(or_equal, minimum)


def _pair_rule(or_equal: bool) -> Callable[..., tuple[bool, list[Any]]]:
    def evaluate(
        self: Any, values: Any, others: Any, graph: Any, focus: Any
    ) -> tuple[bool, list[Any]]:
        found = [
            self.make_v_result(graph, focus, value_node=value)
            for value in values
            for other in others
            if not less(value, other, or_equal)
        ]
        return bool(found), found

    return evaluate


def _pairs() -> Iterator[Patch]:
    """The same of ``sh:lessThan`` and ``sh:lessThanOrEquals``, where IRIs have an order too."""
    module = property_pair_constraints
    yield module.LessThanConstraintComponent, "_compare_lt", _pair_rule(False)
    yield module.LessThanOrEqualsConstraintComponent, "_compare_ltoe", _pair_rule(True)


def _language_ranges() -> Iterator[Patch]:
    """A tag is compared with a range whole and by its first part, not by every part in turn."""

    def evaluate(
        self: Any, head: Any, graph: Any, values: dict[Any, Any]
    ) -> tuple[bool, list[Any]]:
        ranges = [str(item).lower() for item in self.shape.sg.graph.items(head)]
        found = [
            self.make_v_result(graph, focus, value_node=value)
            for focus, nodes in values.items()
            for value in nodes
            if not _matches(getattr(value, "language", None), ranges)
        ]
        return bool(found), found

    component = string_based_constraints.LanguageInConstraintComponent
    yield component, "_evaluate_string_rule", evaluate


def _matches(tag: str | None, ranges: Sequence[str]) -> bool:
    """RFC 4647, basic filtering."""
    return bool(tag) and any(
        item == "*" or f"{tag}-".lower().startswith(f"{item}-") for item in ranges
    )


def _flags() -> Iterator[Patch]:
    """Of ``sh:flags``, ``i`` and ``m`` are read, ``s`` is not."""
    component: Any = string_based_constraints.PatternConstraintComponent
    original = component.__init__

    def init(self: Any, shape: Any) -> None:
        original(self, shape)
        if self.flags is not None and "s" in str(self.flags):
            for pattern, compiled in self.compiled_cache.items():
                self.compiled_cache[pattern] = re.compile(
                    compiled.pattern, compiled.flags | re.DOTALL
                )

    yield component, "__init__", init


def _inverse_sequences() -> Iterator[Patch]:
    """The inverse of a sequence takes the inverse steps in the order of the sequence."""
    original: Any = expression_helper.value_nodes_from_path

    def evaluate(
        shapes: Any, focus: Any, path: Any, graph: Any, inverse: bool = False, recursion: int = 0
    ) -> set[Any]:
        head = shapes.graph.value(path, rdflib.RDF.first) if inverse else None
        if head is None:
            found: set[Any] = original(shapes, focus, path, graph, inverse, recursion)
            return found
        nodes = {focus}
        for step in reversed(list(shapes.graph.items(path))):
            nodes = {
                value
                for node in nodes
                for value in evaluate(shapes, node, step, graph, True, recursion + 1)
            }
        return nodes

    yield expression_helper, "value_nodes_from_path", evaluate
    yield shape_module, "value_nodes_from_path", evaluate


def _short_nothing() -> Iterator[Patch]:
    """``sh:minLength 0`` lets blank nodes pass, which never have a length."""
    component: Any = string_based_constraints.MinLengthConstraintComponent
    original = component._evaluate_string_rule

    def evaluate(
        self: Any, bound: Any, graph: Any, values: dict[Any, Any]
    ) -> tuple[bool, list[Any]]:
        failed, found = original(self, bound, graph, values)
        if int(bound) == 0:
            found = found + [
                self.make_v_result(graph, focus, value_node=value)
                for focus, nodes in values.items()
                for value in nodes
                if isinstance(value, rdflib.BNode)
            ]
        return failed or bool(found), found

    yield component, "_evaluate_string_rule", evaluate


def _implicit_classes() -> Iterator[Patch]:
    """A class that refers to a shape by ``sh:node`` and the like targets its instances, though it
    isn't declared a shape."""
    component: Any = shape_module.Shape
    original = component.implicit_class_targets

    def targets(self: Any) -> list[Any]:
        kinds = set(self.sg.graph.objects(self.node, rdflib.RDF.type))
        declared = kinds & {rdflib.SH.NodeShape, rdflib.SH.PropertyShape}
        found: list[Any] = original(self) if declared else []
        return found

    yield component, "implicit_class_targets", targets


_init: Any = shape_module.Shape.__init__


def _advanced(shape: Any, *given: Any, **named: Any) -> None:
    _init(shape, *given, **named)
    shape._advanced = True


CORRECTIONS: dict[str, Callable[[], Iterator[Patch]]] = {
    "ranges": _ranges,
    "pairs": _pairs,
    "language-ranges": _language_ranges,
    "flags": _flags,
    "inverse-sequences": _inverse_sequences,
    "short-nothing": _short_nothing,
    "implicit-classes": _implicit_classes,
    **SPARQL_CORRECTIONS,
}


@contextmanager
def corrected(names: Sequence[str]) -> Iterator[None]:
    """pySHACL with these errors mended, while it lasts."""
    # It remembers validators and texts by the address of a graph that may be gone.
    sparql_based_constraint_components.SPARQLConstraintComponentValidator.validator_cache.clear()
    stringify.stringify_blank_node.dict_cache.clear()
    with ExitStack() as stack:
        # SPARQL-based targets are of SHACL's advanced features, which it has a switch for.
        stack.enter_context(patch.object(shape_module.Shape, "__init__", _advanced))
        for name in names:
            for owner, attribute, value in CORRECTIONS[name]():
                stack.enter_context(patch.object(owner, attribute, value))
        yield
