"""The regular expressions of ``sh:pattern``, matched in time linear in the text.

Invariant: no pattern can keep the gate busy: RE2 has no backtracking. What XPath's expressions mean
there is kept: ``$`` is the end of the text, classes such as ``\\d`` know all of Unicode. Back
references and class subtraction, which no linear engine has, are refused.
Specification: https://www.w3.org/TR/xpath-functions-31/#regex-syntax
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import re2

FLAGS = "imsxq"

_NAME_START = (
    r"_:A-Za-z\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{2FF}\x{370}-\x{37D}\x{37F}-\x{1FFF}"
    r"\x{200C}-\x{200D}\x{2070}-\x{218F}\x{2C00}-\x{2FEF}\x{3001}-\x{D7FF}\x{F900}-\x{FDCF}"
    r"\x{FDF0}-\x{FFFD}\x{10000}-\x{EFFFF}"
)
_NAME = _NAME_START + r"\-.0-9\x{B7}\x{300}-\x{36F}\x{203F}-\x{2040}"
# What stands between brackets for each class that has a letter.
_CLASSES = {
    "d": r"\p{Nd}",
    "s": r" \t\n\r",
    "i": _NAME_START,
    "c": _NAME,
}
_WORD = r"\p{P}\p{Z}\p{C}"


@lru_cache(maxsize=4096)
def matcher(pattern: str, flags: str = "") -> Callable[[str], bool]:
    """Whether a text has a match anywhere.

    Raises :class:`ValueError` for flags or an expression that cannot be used, saying why.
    """
    unknown = sorted(set(flags) - set(FLAGS))
    if unknown:
        raise ValueError(
            f'the flag "{unknown[0]}" is unknown; "i", "m", "s", "x" and "q" are taken'
        )
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 32 << 20
    if "q" in flags:
        expression = re2.escape(pattern)
    else:
        expression = _translated(_without_space(pattern) if "x" in flags else pattern)
    marks = "".join(flag for flag in "ims" if flag in flags)
    try:
        compiled = re2.compile(f"(?{marks})" + expression if marks else expression, options)
    except re2.error as error:
        said = error.args[0] if error.args else error
        why = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        raise ValueError(f"it is no regular expression of the supported kind: {why}") from error
    return lambda text: compiled.search(text) is not None


def _without_space(pattern: str) -> str:
    """Flag ``x``: white space is removed, save between brackets."""
    out, depth, escaped = "", 0, False
    for character in pattern:
        if not escaped and character in "[]":
            depth += 1 if character == "[" else -1
        escaped = character == "\\" and not escaped
        if depth or character not in " \t\n\r":
            out += character
    return out


def _translated(pattern: str) -> str:
    out: list[str] = []
    position, in_class = 0, False
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "\\" and position < len(pattern):
            out.append(_escape(pattern[position], in_class))
            position += 1
        elif in_class and character == "[":
            if out[-1].endswith("-"):
                raise ValueError("class subtraction ([a-z-[aeiou]]) is not supported")
            out.append("\\[")
        else:
            if character == "[":
                in_class = True
            elif character == "]":
                in_class = False
            out.append(character)
    return "".join(out)


def _escape(letter: str, in_class: bool) -> str:
    lower = letter.lower()
    if letter.isdigit():
        raise ValueError(f"the back reference \\{letter} is not supported")
    if lower in _CLASSES:
        if letter == lower:
            return _CLASSES[lower] if in_class else f"[{_CLASSES[lower]}]"
        if not in_class:
            return f"[^{_CLASSES[lower]}]"
        if lower == "d":
            return r"\P{Nd}"
        raise ValueError(f"\\{letter} between brackets is not supported: write it outside")
    if lower == "w":
        if letter == "w" and not in_class:
            return f"[^{_WORD}]"
        if letter == "W":
            return _WORD if in_class else f"[{_WORD}]"
        # All but punctuation, separators and others, spelt out.
        return r"\p{L}\p{M}\p{N}\p{S}"
    if letter == "-":
        return r"\-"
    return "\\" + letter
