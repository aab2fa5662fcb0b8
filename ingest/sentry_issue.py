"""What an error event of a Sentry client is about: title, culprit, and the issue it belongs to.

Invariant: the issue is a function of the event, computed as GlitchTip does it, MD5 over title,
culprit and type or over the parts of the fingerprint, but that identifiers and mail
addresses are taken out of the texts first, for an issue may become a node of the graph, and the
graph must not grow with traffic. Where a text holds none, the issue is GlitchTip's own. A message
with a stack is grouped by its words, where GlitchTip takes it for an exception without a name.
Source: https://gitlab.com/glitchtip/glitchtip-backend (apps/event_ingest/utils.py)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ingest.attributes import MAX_NAME, MAX_VALUE, text
from ingest.names import low_cardinality
from ingest.personal import redacted
from ingest.posthog_request import object_of, text_of

# GlitchTip's numbers of the types of events.
_MESSAGE_TYPE, _ERROR_TYPE = "0", "1"
_DEFAULT_PART = "{{ default }}"
_MAX_PARTS = 32
_MAX_TITLE = 100
_UNTITLED = "<untitled>"


@dataclass(frozen=True)
class Issue:
    """``name`` is the kind of the exception or the template of the message; ``key`` 32 hexadecimal
    digits. ``handled`` is empty where the client does not say."""

    name: str
    key: str
    culprit: str
    is_exception: bool
    exception_type: str = ""
    exception_module: str = ""
    mechanism: str = ""
    handled: str = ""


def issue_of(event: Mapping[str, Any]) -> Issue:
    """What an event of type error or default is about."""
    exceptions = _values(event.get("exception"))
    culprit = _few(text_of(event, "culprit", "transaction") or _place(exceptions))
    # The last one is the one that was raised last.
    raised = exceptions[-1] if exceptions else {}
    kind = text_of(raised, "type")
    message = _few(_message(event) or ("" if kind else text_of(raised, "value")))
    if not exceptions or (message and not kind):
        # Without a type it is the stack of whoever reported the message.
        message = message or _UNTITLED
        return Issue(message, _key(event, _title(message), culprit, False), culprit, False)
    name = text(redacted(kind), MAX_NAME) or _function(raised) or "<unknown>"
    title = _title(_few(text_of(raised, "value"))) if kind else ""
    mechanism = object_of(raised.get("mechanism"))
    handled = mechanism.get("handled")
    return Issue(
        name=name,
        key=_key(event, f"{name}: {title}" if title else name, culprit, True),
        culprit=culprit,
        is_exception=True,
        exception_type=kind,
        exception_module=text_of(raised, "module"),
        mechanism=text_of(mechanism, "type"),
        handled=str(handled).lower() if isinstance(handled, bool) else "",
    )


def few_names(value: str) -> str:
    """A name that a program gave, without identifiers, addresses and queries of URLs."""
    return _few(value)


def _few(value: str) -> str:
    return text(low_cardinality(redacted(text(value.strip(), MAX_VALUE))), MAX_NAME)


def _title(words: str) -> str:
    line = words.splitlines()[0] if words else ""
    return line if len(line) <= _MAX_TITLE else f"{line[: _MAX_TITLE - 3]}..."


def _key(event: Mapping[str, Any], title: str, culprit: str, is_exception: bool) -> str:
    default = title + culprit + (_ERROR_TYPE if is_exception else _MESSAGE_TYPE)
    parts = fingerprint_of(event)
    said = "".join(default if part == _DEFAULT_PART else part for part in parts) or default
    return hashlib.md5(said.encode(), usedforsecurity=False).hexdigest()


def fingerprint_of(event: Mapping[str, Any]) -> tuple[str, ...]:
    """The parts by which the program groups its errors; empty where it leaves that to others."""
    parts = event.get("fingerprint")
    if not isinstance(parts, list):
        return ()
    found = [
        _DEFAULT_PART if part in (_DEFAULT_PART, "{{default}}") else _few(str(part))
        for part in parts[:_MAX_PARTS]
        if isinstance(part, str | int | float)
    ]
    return () if found == [_DEFAULT_PART] else tuple(found)


def _message(event: Mapping[str, Any]) -> str:
    """The template of a message; one that was put together before only where that is all."""
    entry = event.get("logentry") or event.get("sentry.interfaces.Message") or event.get("message")
    return entry if isinstance(entry, str) else text_of(object_of(entry), "message")


def _values(interface: Any) -> list[Mapping[str, Any]]:
    if isinstance(interface, dict) and "values" not in interface:
        interface = [interface]
    values = interface.get("values") if isinstance(interface, dict) else interface
    return [item for item in values if isinstance(item, dict)] if isinstance(values, list) else []


def _frames(exception: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    frames = object_of(exception.get("stacktrace")).get("frames")
    return (
        [frame for frame in frames if isinstance(frame, dict)] if isinstance(frames, list) else []
    )


def _place(exceptions: list[Mapping[str, Any]]) -> str:
    """The innermost place in the program's own code."""
    for exception in reversed(exceptions):
        frames = _frames(exception)
        if frames:
            own = [frame for frame in frames if frame.get("in_app")] or frames
            module = text_of(own[-1], "module", "filename") or "?"
            return f"{module} in {text_of(own[-1], 'function') or '?'}"
    return ""


def _function(exception: Mapping[str, Any]) -> str:
    frames = _frames(exception)
    return text(redacted(text_of(frames[-1], "function")), MAX_NAME) if frames else ""
