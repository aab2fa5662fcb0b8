"""The errors of the shapes floor.

::

    ShapesError
    ├── MalformedShapes        the shapes themselves cannot be used
    │   └── QueryStopped       a query of theirs gave no answer within its limits
    └── ValidationFailed       a validation came to no end
"""

from __future__ import annotations


class ShapesError(Exception):
    """Anything this floor refuses or cannot do."""


class MalformedShapes(ShapesError):
    """Shapes that cannot be used; the message names the shape and what is wrong with it."""


class QueryStopped(MalformedShapes):
    """A query of a shape that was stopped, or failed; what it would find is not known."""


class ValidationFailed(ShapesError):
    """A validation that could not be brought to its end; nothing is known of what it would say."""
