"""The validator that the SHACL suite is run against, behind one function.

Invariant: it is the validator of the gate, over the graphs as the suite wrote them: in memory, with
blank nodes and ill-typed literals, which the store never holds.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyoxigraph import Quad, Triple

from shapes.compile import compile_shapes
from shapes.errors import MalformedShapes
from shapes.view import MemoryView
from shapes.whole import validate_graph
from tests.conformance.cases import Mismatch

_NOT_RUN = "which the gate does not run"


class ValidationFailed(Exception):
    """The validator reported a failure, as the specification calls it, instead of a report."""


def validate(data: Sequence[Quad], shapes: Sequence[Quad]) -> list[Triple]:
    """The report graph of a data graph by a shapes graph.

    Raises :class:`ValidationFailed` where the shapes are at fault, and :class:`Mismatch` where the
    validator is: it broke, or refused what is well formed.
    """
    try:
        return list(validate_graph(compile_shapes(shapes), MemoryView(data)).triples())
    except MalformedShapes as error:
        if _NOT_RUN in str(error):
            raise Mismatch(f"it was refused: {error}") from error
        raise ValidationFailed(str(error)) from error
    except Exception as error:
        raise Mismatch(f"the validator raised {type(error).__name__}: {error}") from error
