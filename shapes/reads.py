"""What a validation read, so that it can be told whether another change would have been read.

Invariant: run again after a change that none of this meets, a validation takes the same steps and
says the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain

from pyoxigraph import NamedNode

from ontology.terms import Delta
from shapes.view import Node


@dataclass(slots=True)
class Reads:
    """What was read: values by predicate and node, whole nodes, or simply everything."""

    objects: dict[NamedNode, set[Node]] = field(default_factory=dict)
    subjects: dict[NamedNode, set[Node]] = field(default_factory=dict)
    nodes: set[Node] = field(default_factory=set)
    pointed: set[Node] = field(default_factory=set)
    everything: bool = False

    def meet(self, delta: Delta) -> bool:
        """Whether any of this would have been read otherwise after another change."""
        if self.everything:
            return bool(delta)
        none: frozenset[Node] = frozenset()
        return any(
            quad.subject in self.nodes
            or quad.object in self.pointed
            or quad.subject in self.objects.get(quad.predicate, none)
            or quad.object in self.subjects.get(quad.predicate, none)
            for quad in chain(delta.additions, delta.removals)
        )
