"""The trace that a request is a part of, as W3C Trace Context tells it.

Invariant: every request carries a ``traceparent`` of its own: of the trace that is handed in or
current, else of a fresh one that nobody is asked to record. What doesn't fit the specification is
no trace context, and its ``tracestate`` is not handed on.
Specification: https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from dataclasses import dataclass
from random import Random

_PARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
    r"(?P<more>-.*)?",
    re.ASCII,
)
_MEMBER = re.compile(
    r"[a-z0-9][a-z0-9_*/@-]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]",
    re.ASCII,
)
_MOST_MEMBERS, _MOST_STATE = 32, 512


@dataclass(frozen=True, slots=True)
class Trace:
    """A place in a trace: 32 and 16 hexadecimal digits, the flags, and what vendors add."""

    trace_id: str
    span_id: str
    flags: int = 0
    state: str = ""

    @classmethod
    def read(cls, traceparent: str, tracestate: str = "") -> Trace | None:
        """The place that two headers tell; ``None`` where they tell none."""
        found = _PARENT.fullmatch(traceparent.strip()) if len(traceparent) < 200 else None
        if found is None or found["version"] == "ff":
            return None
        if found["version"] == "00" and found["more"]:
            return None
        if not int(found["trace"], 16) or not int(found["span"], 16):
            return None
        return cls(found["trace"], found["span"], int(found["flags"], 16) & 1, _state(tracestate))

    @classmethod
    def fresh(cls, random: Random) -> Trace:
        """A new trace, which nobody is asked to record."""
        return cls(_hexadecimal(random, 128), _hexadecimal(random, 64))

    def child(self, random: Random) -> Trace:
        """Another place in the same trace."""
        return Trace(self.trace_id, _hexadecimal(random, 64), self.flags, self.state)

    def fields(self) -> dict[str, str]:
        """Its headers."""
        said = {"traceparent": f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"}
        return said | ({"tracestate": self.state} if self.state else {})


CURRENT: ContextVar[Trace | None] = ContextVar("fractalops_trace", default=None)
"""The trace that whatever is done now belongs to."""


def _hexadecimal(random: Random, bits: int) -> str:
    return f"{random.getrandbits(bits) or 1:0{bits // 4}x}"


def _state(text: str) -> str:
    """What vendors said, as one line; nothing where it breaks the rules."""
    members = [member for part in text.split(",") if (member := part.strip())]
    whole = ",".join(members)
    if len(members) > _MOST_MEMBERS or len(whole) > _MOST_STATE:
        return ""
    names = {member.partition("=")[0] for member in members}
    if len(names) < len(members) or not all(map(_MEMBER.fullmatch, members)):
        return ""
    return whole
