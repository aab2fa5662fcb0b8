"""What may be done to a runtime asset: commands and requests, by pattern.

Invariant: what no pattern fits is not permitted, and a pattern fits no more than it says: a star
stays inside one argument or one segment, the program is spelled out, an argument that begins with a
dash fits only a pattern that does, and a path that a server might read as another one fits none.
Matching takes time that grows with the texts' length alone.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import unquote

from runtime.told_programs import is_shell, is_told, starts_a_shell, tells

Effect = Literal["reads", "changes"]
"""What goes at once, and what is a proposal."""

METHODS: Final = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
FURTHER = "..."
"""The last argument of a pattern that any further ones fit."""
DEEPER = "**"
"""The last segment of a pattern that one or more segments fit."""
_UP = re.compile(r"(?:^|[/\\\\=:,])\.\.(?:$|[/\\\\])")
"""A step out of a folder, in a path or in an option's value."""


@dataclass(frozen=True, slots=True, order=True)
class PermittedCommand:
    """The argument vectors that fit a pattern, the program first."""

    argv: tuple[str, ...]
    effect: Effect

    @property
    def pattern(self) -> str:
        """As the graph holds it: a JSON array without spaces between its strings."""
        return json.dumps(self.argv, ensure_ascii=False, separators=(",", ":"))

    @property
    def interprets(self) -> bool:
        """Whether something in it does what it is told, and the pattern leaves open what that
        is."""
        is_open = ["*" in argument or argument == FURTHER for argument in self.argv[1:]]
        if not any(is_open):
            return False
        last = len(is_open) - is_open[::-1].index(True)
        before = self.argv[1:last]
        return (
            is_told(self.argv[0])
            or any(map(is_shell, before))
            or any(tells(argument) for argument in self.argv[1 : last + 1])
        )

    def interprets_in(self, argv: Sequence[str]) -> bool:
        """As :attr:`interprets`, or whether that is so of these arguments, which fit."""
        if self.interprets:
            return True
        further = argv[len(self.argv) - 1 :] if self.argv[-1] == FURTHER else ()
        return any(map(tells, further)) or starts_a_shell(further)

    def fits(self, argv: Sequence[str]) -> bool:
        wanted = self.argv
        if any("\0" in argument for argument in argv):
            return False
        if wanted[-1] == FURTHER and len(wanted) > 1:
            wanted = wanted[:-1]
            if len(argv) < len(wanted):
                return False
        elif len(argv) != len(wanted):
            return False
        return argv[0] == wanted[0] and all(
            argument.startswith("-") <= pattern.startswith("-")
            and _fits(pattern, argument)
            and not _climbs(pattern, argument)
            for pattern, argument in zip(wanted[1:], argv[1:], strict=False)
        )


@dataclass(frozen=True, slots=True, order=True)
class PermittedRequest:
    """The requests to the executor URL with one of these methods and a path that fits."""

    methods: tuple[str, ...]
    path: str
    effect: Effect

    def fits(self, method: str, path: str) -> bool:
        """``path`` is as it is sent, from the root, without a query."""
        segments = path.split("/")
        if method not in self.methods or not is_plain_path(path):
            return False
        wanted = self.path.split("/")
        if wanted[-1] == DEEPER:
            wanted = wanted[:-1]
            if len(segments) <= len(wanted):
                return False
        elif len(segments) != len(wanted):
            return False
        if len(segments) > 2 and not segments[-1] and self.path[-1] == "*":
            # What is behind the last slash is a segment only where there is something.
            return False
        return all(
            _fits(pattern, segment) for pattern, segment in zip(wanted, segments, strict=False)
        )


PermittedAction = PermittedCommand | PermittedRequest


def is_plain_path(path: str) -> bool:
    """Whether every server reads the same segments in a path: it begins with a slash, and has no
    empty or dot segments, nor what could be taken for one."""
    first, *segments = path.split("/")
    return (
        not first and bool(segments) and "" not in segments[:-1] and all(map(_is_plain, segments))
    )


def _is_plain(segment: str) -> bool:
    try:
        read = unquote(segment, errors="strict")
    except UnicodeDecodeError:
        # Some readers take what is no UTF-8 for a dot or a slash.
        return False
    return all(map(_names_itself, (read, unicodedata.normalize("NFKC", read))))


def _names_itself(read: str) -> bool:
    """Parameters behind a semicolon are no part of the name to some servers."""
    name, parameters, _ = read.partition(";")
    return (
        name not in (".", "..")
        and (bool(name) or not parameters)
        and read.isprintable()
        and not set("/\\?#%") & set(read)
    )


def _climbs(pattern: str, argument: str) -> bool:
    """Whether an argument leaves the folder that the pattern is about."""
    return "*" in pattern and "/" in pattern and _UP.search(argument) is not None


def _fits(pattern: str, text: str) -> bool:
    first, *others = pattern.split("*")
    if not others:
        return text == pattern
    *between, last = others
    if not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in between:
        found = text.find(part, at, max(at, end))
        if found < 0:
            return False
        at = found + len(part)
    return at <= end
