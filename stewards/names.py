"""Names as strangers send them.

Invariant: a name is kept as it came in the key of an IRI, where every character is encoded, and
shown as one line of text without characters that could disguise it. A name is never cut: two names
that begin alike are two names.
Source: https://www.unicode.org/reports/tr36/
"""

from __future__ import annotations

import re
import unicodedata

MAX_NAME = 256
"""Characters; a longer name is a fault of the sender."""

# Control, format (which can reverse a line of text), surrogate, line and paragraph separators.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def shown(text: str) -> str:
    """The name as one line, white space collapsed; empty when there is nothing to see."""
    visible = "".join(" " if unicodedata.category(sign) in _HIDDEN else sign for sign in text)
    return re.sub(r"\s+", " ", visible).strip()


def is_named(service: str) -> bool:
    """Whether a service said its own name, and one that can be kept.

    SDKs send ``unknown_service`` (or ``unknown_service:python``) for one that didn't, which would
    make one false service out of all nameless processes.
    """
    return (
        len(service) <= MAX_NAME
        and service != "unknown_service"
        and not service.startswith("unknown_service:")
        and bool(shown(service))
    )
