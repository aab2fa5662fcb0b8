"""The errors of the shapes floor.

::

    ShapesError
    └── MalformedShapes        the shapes themselves cannot be used
"""

from __future__ import annotations


class ShapesError(Exception):
    """Anything this floor refuses or cannot do."""


class MalformedShapes(ShapesError):
    """Shapes that cannot be used; the message names the shape and what is wrong with it."""
