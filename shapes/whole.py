"""Validates a whole graph: every focus node of every shape.

Invariant: focus nodes are taken as they come and forgotten again, so memory does not grow with the
graph.
Specification: https://www.w3.org/TR/shacl/#validation-definition
"""

from __future__ import annotations

from collections.abc import Iterator

from pyoxigraph import NamedNode

from shapes.compile import Program
from shapes.evaluate import SUBCLASS, TYPE, Finding, Run
from shapes.model import Shape, Target, TargetKind
from shapes.report import Report, Result
from shapes.results import result_of
from shapes.view import Node, View


def validate_graph(program: Program, view: View) -> Report:
    """The report on everything a view holds."""
    results = [result_of(finding, None) for finding in find_everywhere(program, view)]
    return Report(tuple(sorted(results, key=Result.order)))


def find_everywhere(program: Program, view: View) -> Iterator[Finding]:
    """Every finding, shape by shape."""
    run = Run(view)
    for shape in program.targeted:
        for focus in focus_nodes(shape, view):
            yield from run.find(shape, focus)


def focus_nodes(shape: Shape, view: View) -> Iterator[Node]:
    """The focus nodes of a shape, each once."""
    seen: set[Node] = set()
    for target in shape.targets:
        for focus in _chosen(target, view):
            if focus not in seen:
                seen.add(focus)
                yield focus


def _chosen(target: Target, view: View) -> Iterator[Node]:
    if target.kind is TargetKind.NODE:
        return iter((target.term,))
    if target.kind is TargetKind.CLASS:
        return instances(view, target.term)
    predicate = NamedNode(target.term.value)
    if target.kind is TargetKind.SUBJECTS_OF:
        return view.all_subjects(predicate)
    return view.all_objects(predicate)


def instances(view: View, kind: Node) -> Iterator[Node]:
    """The SHACL instances of a class; may repeat."""
    kinds = [kind]
    for item in kinds:
        yield from view.subjects(TYPE, item)
        kinds += [below for below in view.subjects(SUBCLASS, item) if below not in kinds]
