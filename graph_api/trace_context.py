"""The trace that a request belongs to, for whatever is asked of others on its behalf.

Invariant: what a request says of its trace holds while it is answered, in threads that answer it
too, and for no other request; what doesn't fit the specification is no trace.
Specification: https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from runtime.http_trace import CURRENT, Trace


class TraceContext:
    """Makes the trace that a request names the current one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        trace = _told(scope) if scope["type"] == "http" else None
        token = CURRENT.set(trace)
        try:
            await self._app(scope, receive, send)
        finally:
            CURRENT.reset(token)


def _told(scope: Scope) -> Trace | None:
    parent, states = "", []
    for name, value in scope["headers"]:
        if name == b"traceparent":
            if parent:
                return None
            parent = value.decode("latin-1")
        elif name == b"tracestate":
            # It may stand in several lines.
            states.append(value.decode("latin-1"))
    return Trace.read(parent, ",".join(states)) if parent else None
