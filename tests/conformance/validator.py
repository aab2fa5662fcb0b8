"""The validator that the SHACL suite is run against, behind one function."""

from __future__ import annotations

from collections.abc import Sequence

from pyoxigraph import Quad, RdfFormat, Triple, serialize

from shapes.errors import MalformedShapes
from shapes.reference import ReferenceShapes
from tests.conformance.cases import Mismatch


class ValidationFailed(Exception):
    """The validator reported a failure, as the specification calls it, instead of a report."""


def validate(data: Sequence[Quad], shapes: Sequence[Quad]) -> list[Triple]:
    """The report graph of a data graph by a shapes graph. Raises :class:`ValidationFailed`, and
    :class:`Mismatch` where the validator broke."""
    try:
        return list(ReferenceShapes(_ntriples(shapes)).run(_ntriples(data)).triples())
    except MalformedShapes as error:
        raise ValidationFailed(str(error)) from error
    except Exception as error:
        raise Mismatch(f"the validator raised {type(error).__name__}: {error}") from error


def _ntriples(quads: Sequence[Quad]) -> bytes:
    data = serialize((quad.triple for quad in quads), format=RdfFormat.N_TRIPLES)
    assert data is not None
    return data
