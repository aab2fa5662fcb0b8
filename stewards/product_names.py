"""Names of features and pages, which come from strangers.

Invariant: a name is words that the product chose, or nothing: identifiers, addresses, numbers and
what was redacted make no name, for every name becomes a node of the graph.
"""

from __future__ import annotations

from ingest.attributes import REDACTED
from ingest.names import low_cardinality
from stewards.names import shown

MAX_LENGTH = 200
"""Characters, as the classifier has it."""

_NO_WORDS = frozenset({"true", "false", "null", "none", "undefined", "-"})


def feature_name(said: str) -> str:
    """What a feature is called; empty where the value is no name.

    A name that is too long isn't cut: two features may begin alike.
    """
    name = shown(low_cardinality(shown(said)))
    if not name or len(name) > MAX_LENGTH or name[0] in "{[" or name.lower() in _NO_WORDS:
        return ""
    return "" if REDACTED in said else name


def place_name(said: str) -> str:
    """The path template or screen that the classifier would name a page view by."""
    return " ".join(low_cardinality(said).split())[:MAX_LENGTH]
