"""What may be done to a runtime asset: commands and requests, by pattern.

Invariant: what no pattern fits is not permitted, and a pattern fits no more than it says: a star
stays inside one argument or one segment, the program is spelled out, an argument that begins with a
dash fits only a pattern that does, and a path that a server might read as another one fits none.
Matching takes time that grows with the texts' length alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import unquote

Effect = Literal["reads", "changes"]
"""What goes at once, and what is a proposal."""

METHODS: Final = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
FURTHER = "..."
"""The last argument of a pattern that any further ones fit."""
DEEPER = "**"
"""The last segment of a pattern that one or more segments fit."""
INTERPRETERS = frozenset(
    {
        *("ash", "bash", "busybox", "csh", "dash", "env", "fish", "ksh", "nohup", "script", "sh"),
        *("setsid", "ssh", "su", "sudo", "tcsh", "xargs", "zsh"),
        *("awk", "deno", "gawk", "lua", "node", "perl", "php", "python", "ruby", "tclsh"),
    }
)
"""Programs that do whatever their arguments say."""


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
        """Whether the program does what it is told, and the pattern leaves open what that is."""
        name = self.argv[0].rpartition("/")[2].rstrip("0123456789.").lower()
        return name in INTERPRETERS and any(
            "*" in argument or argument == FURTHER for argument in self.argv[1:]
        )

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
            argument.startswith("-") <= pattern.startswith("-") and _fits(pattern, argument)
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
        if method not in self.methods or segments[0] or not all(map(_is_plain, segments[1:])):
            return False
        wanted = self.path.split("/")
        if wanted[-1] == DEEPER:
            wanted = wanted[:-1]
            if len(segments) <= len(wanted):
                return False
        elif len(segments) != len(wanted):
            return False
        if "" in segments[1:-1]:
            return False
        return all(
            _fits(pattern, segment) for pattern, segment in zip(wanted, segments, strict=False)
        )


PermittedAction = PermittedCommand | PermittedRequest


def _is_plain(segment: str) -> bool:
    read = unquote(segment)
    return read not in (".", "..") and read.isprintable() and not set("/\\?#%") & set(read)


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
