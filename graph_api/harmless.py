"""Text from outside, made fit to be shown: on a terminal, and to somebody who decides by it.

Invariant: what a stranger wrote shows as what it is. Control, formatting and bidirectional
characters are spelled out, so that no text moves the cursor, hides a part of itself or turns its
order around; in what is quoted to a decider the characters that markup is made of, and the quotes
around it, are spelled out too, so that no text speaks in our own voice.
Source: https://www.unicode.org/reports/tr9/#Security_Considerations
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

# C0, DEL and C1 controls; soft hyphen; bidirectional marks, embeddings, overrides and isolates;
# invisible operators and separators; lone surrogates; tag characters. The zero-width joiners stay:
# scripts need them to spell words.
_INVISIBLE = (
    "\x00-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
)
_IN_A_LINE = re.compile(f"[{_INVISIBLE}]")
_IN_A_TEXT = re.compile(f"(?![\\n\\t])[{_INVISIBLE}]")
_MARKUP = re.compile(f'[<>&`"\\[\\]{_INVISIBLE}]')

# Of a text that JSON has escaped already: quotes are, and stay.
_MARKUP_IN_JSON = re.compile("[<>&`\\[\\]\x7f]")

MOST_CHARACTERS = 200
"""Of a label that is quoted to a decider; the whole of it stands in the patch."""


def visible(text: str) -> str:
    """The text as one line that a terminal shows and doesn't obey."""
    return _IN_A_LINE.sub(_spelled, text)


def visible_text(text: str) -> str:
    """As :func:`visible`, but line ends and tabs stay."""
    return _IN_A_TEXT.sub(_spelled, text)


def harmless(text: str, most: int = MOST_CHARACTERS) -> str:
    """The text as it may be quoted to a decider: one line, no markup, at most so many characters of
    the original."""
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return _MARKUP.sub(_spelled, cut)


def harmless_rdf(text: str) -> str:
    """N-Quads or an RDF Patch that say the same and hide nothing: what isn't visible is escaped as
    these syntaxes allow it (https://www.w3.org/TR/n-quads/#grammar-production-UCHAR)."""
    return _IN_A_TEXT.sub(_escaped, text)


def harmless_json(value: Any) -> str:
    """A value of JSON as one line that reads back as it is: in its texts, what isn't ASCII, isn't
    visible or is made for markup is escaped, so that nothing looks like another thing, and nothing
    is left away."""
    if isinstance(value, str):
        return '"' + _MARKUP_IN_JSON.sub(_escaped_in_json, json.dumps(value)[1:-1]) + '"'
    if isinstance(value, Mapping):
        members = (f"{harmless_json(str(k))}: {harmless_json(v)}" for k, v in value.items())
        return "{" + ", ".join(members) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(harmless_json, value)) + "]"
    return json.dumps(value)


def visible_json(text: str) -> str:
    """JSON that says the same and hides nothing."""
    return _IN_A_TEXT.sub(lambda match: json.dumps(match.group())[1:-1], text)


def _spelled(match: re.Match[str]) -> str:
    code = ord(match.group())
    known = {0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r"}.get(code)
    if known is not None:
        return known
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _escaped_in_json(match: re.Match[str]) -> str:
    return f"\\u{ord(match.group()):04x}"


def _escaped(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"
