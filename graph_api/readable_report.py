"""Reports for callers who may not read every graph.

Invariant: a result that names something which only restricted graphs state is told without naming
it. Shapes look at all graphs, so that a change in one can break something in another; that it does
must be told, what is there must not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pyoxigraph import Literal, NamedNode, RdfFormat, parse

from ontology.store import GraphStore
from ontology.terms import Delta

MASKED = "something in a graph that you may not read does not conform to this shape"


def readable_report(
    report: Mapping[str, Any], delta: Delta, hidden: frozenset[str], store: GraphStore
) -> dict[str, Any]:
    """The report on a change as somebody may read it from whom these graphs are hidden.

    Masked results name their shape in the place of the focus node; equal ones are one.
    """
    results = list(report["results"])
    if not hidden or not results:
        return dict(report)
    seen = _Seen(delta, hidden, store)
    told: dict[tuple[str, ...], Mapping[str, Any]] = {}
    for number, result in enumerate(results):
        if seen.all_of(result):
            told[(str(number),)] = seen.without_hidden_cause(result)
        else:
            masked = _masked(result)
            told.setdefault((masked["shape"], masked["component"], masked["severity"]), masked)
    omitted = int(report.get("omitted", 0)) + len(results) - len(told)
    return {**report, "results": list(told.values()), "omitted": omitted}


def _masked(result: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: result[name] for name in ("shape", "severity", "component")},
        **{"focus": result["shape"], "path": None, "value": None, "message": MASKED},
        **{"messages": [], "cause": None, "advice": None},
    }


class _Seen:
    """What is stated in graphs that may be read, or by the change itself."""

    def __init__(self, delta: Delta, hidden: frozenset[str], store: GraphStore) -> None:
        self._hidden = hidden
        self._store = store
        shown = delta.without_graphs(hidden)
        self._triples = {(quad.subject, quad.predicate, quad.object) for quad in shown.quads}
        self._terms = {end for quad in shown.quads for end in (quad.subject, quad.object)}

    def all_of(self, result: Mapping[str, Any]) -> bool:
        focus = _term(result["focus"])
        if not self._knows(focus):
            return False
        if result["value"] is None:
            return True
        value, path = _term(result["value"]), str(result["path"] or "")
        if value == focus:
            return True
        predicate = _term(path) if path.startswith("<") and path.count("<") == 1 else None
        if isinstance(predicate, NamedNode) and isinstance(focus, NamedNode):
            return (focus, predicate, value) in self._triples or self._any(
                self._store.unrestricted(self._hidden, focus, predicate, value)
            )
        return self._knows(value)

    def without_hidden_cause(self, result: Mapping[str, Any]) -> Mapping[str, Any]:
        cause = result.get("cause") or ""
        if any(cause.endswith(f" <{graph}> .") for graph in self._hidden):
            return {**result, "cause": None}
        return result

    def _knows(self, term: NamedNode | Literal | None) -> bool:
        if term is None:
            return False
        if term in self._terms:
            return True
        if isinstance(term, NamedNode) and self._any(
            self._store.unrestricted(self._hidden, subject=term)
        ):
            return True
        return self._any(self._store.unrestricted(self._hidden, value=term))

    @staticmethod
    def _any(quads: Iterable[object]) -> bool:
        return next(iter(quads), None) is not None


def _term(text: str) -> NamedNode | Literal | None:
    """The term of a result; ``None`` for what names nothing in the graph."""
    try:
        quad = next(iter(parse(f"<x:s> <x:p> {text} .", format=RdfFormat.N_TRIPLES)))
    except (SyntaxError, StopIteration):
        return None
    return quad.object if isinstance(quad.object, NamedNode | Literal) else None
